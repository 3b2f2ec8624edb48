"""The settings of a detector of probing and of what follows its alarms: the table `watch` of an oracle spec."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from oracles.restrict import MAX_DECIMALS
from oracles.watch import blacklight, piha, prada
from oracles.watch.blacklight import Blacklight
from oracles.watch.detector import Detector
from oracles.watch.piha import PIHA
from oracles.watch.prada import PRADA

DETECTORS: dict[str, Callable[[int], Detector]] = {"blacklight": Blacklight, "piha": PIHA, "prada": PRADA}
THRESHOLDS = {"blacklight": blacklight.THRESHOLD, "piha": piha.THRESHOLD, "prada": prada.THRESHOLD}
MEMORIES = {"blacklight": blacklight.MEMORY, "piha": piha.MEMORY, "prada": prada.MEMORY}

_OF_AN_ACTION = {"seconds": "slow", "decimals": "coarse"}


class WatchSpec(BaseModel):
    """A detector of probing and what the service does after its first alarm. Raises ValidationError."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    detector: Literal["blacklight", "piha", "prada"] = Field(
        description="What is looked for: queries like an earlier one (`blacklight`, `piha`), their spacing (`prada`)."
    )
    action: Literal["log", "slow", "coarse", "cached", "ban"] = Field(
        default="log",
        description="What follows an alarm: the record alone (`log`), slower (`slow`) or coarser (`coarse`) answers or "
        "none at all (`ban`) from the next call on, or the earlier query's answer for each query with an alarm "
        "(`cached`).",
    )
    threshold: float | None = Field(
        default=None,
        allow_inf_nan=False,
        description="A query with a score above this raises an alarm; 25, 0.95 and 0.1 by default, see the detectors.",
    )
    memory: Annotated[int, Field(ge=1, le=10**6)] | None = Field(
        default=None, description="Number of earlier queries that are remembered; 10000, and 2000 for `prada`."
    )
    seconds: Annotated[float, Field(gt=0.0, le=1e9)] | None = Field(
        default=None, description="For `slow`: seconds that each call takes longer."
    )
    decimals: Annotated[int, Field(ge=0, le=MAX_DECIMALS)] | None = Field(
        default=None, description="For `coarse`: decimals of the scores; without it only the top class is answered."
    )

    @model_validator(mode="after")
    def _fits_the_action(self) -> WatchSpec:
        for name, action in _OF_AN_ACTION.items():
            if getattr(self, name) is not None and self.action != action:
                raise ValueError(f"{name} is for the action {action}; leave it out or set action = {action!r}")
        if self.action == "slow" and self.seconds is None:
            raise ValueError("the action slow needs seconds, those that each call takes longer")
        if self.action == "cached" and self.detector == "prada":
            raise ValueError("prada names no earlier query to answer from; use blacklight or piha, or another action")
        return self

    def made(self) -> Detector:
        """A new detector, which has seen nothing."""
        return DETECTORS[self.detector](self.remembered)

    @property
    def remembered(self) -> int:
        """Number of earlier queries that are remembered."""
        return MEMORIES[self.detector] if self.memory is None else self.memory

    @property
    def limit(self) -> float:
        """The threshold, or that of the detector."""
        return THRESHOLDS[self.detector] if self.threshold is None else self.threshold
