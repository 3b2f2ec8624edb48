"""What is tuned and how: the `[tune]` table of a study file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Sampler: TypeAlias = Literal["tpe", "random", "nsga2"]
Pruner: TypeAlias = Literal["median", "halving", "none"]
Value: TypeAlias = bool | int | float | str

_STRICT = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Span(BaseModel):
    """Numbers from low to high, both included; whole ones where both ends are whole.

    log: drawn by their logarithm, low above 0 and no step. step: only low, low + step, and so on.
    """

    model_config = ConfigDict(**_STRICT, strict=True)

    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = None

    @model_validator(mode="after")
    def _possible(self) -> Span:
        if self.low >= self.high:
            raise ValueError(f"low {self.low} must lie below high {self.high}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log needs low above 0 and no step")
        if self.step is not None and (self.step <= 0 or (self.whole and not isinstance(self.step, int))):
            raise ValueError(f"step {self.step} must be above 0, and whole where low and high are")
        return self

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def ends(self) -> tuple[Value, ...]:
        """The two values that must be valid settings for those between them to be."""
        if self.step is None:
            return self.low, self.high
        return self.low, self.low + math.floor((self.high - self.low) / self.step + 1e-9) * self.step


class Choices(BaseModel):
    """One of these values."""

    model_config = _STRICT

    choices: Annotated[tuple[Value, ...], Field(min_length=2)]

    @field_validator("choices")
    @classmethod
    def _different(cls, values: tuple[Value, ...]) -> tuple[Value, ...]:
        if len({(type(value), value) for value in values}) < len(values):
            raise ValueError("give each value once")
        return values

    @property
    def ends(self) -> tuple[Value, ...]:
        """All of them."""
        return self.choices


Range: TypeAlias = Span | Choices

# Around the values of `b3d`, which were chosen by hand: a tenth to ten times the weight, a third to three times
# the noise. Even numbers of samples, since its noise comes in pairs, and four at least, as
# leaving one out needs.
B3D_SPACE: Mapping[str, Range] = MappingProxyType(
    {
        "search.sparsity.weight": Span(low=1e-3, high=1e-1, log=True),
        "search.sigma": Span(low=0.3, high=3.0, log=True),
        "search.samples": Span(low=4, high=100, step=2),
    }
)
"""The initial sparsity weight, sigma and samples of B3D: what is tuned where nobody says."""


class TuneConfig(BaseModel):
    """What is tuned, on which values, and how the search for them goes. The victims are those of the study file.

    detector: a preset of one stage by its name, such as `b3d` or `race`. settings: held fixed, as with `--set`,
    `{search = {steps = 60}}`. service: a name among the file's services; None for the first. space: setting, with dots
    as in `--set`, to its values, in nested tables or with quoted names.

    trials: settings to try, the first of them the detector's own where they lie in the space. sampler: `tpe`, `random`,
    or `nsga2`. seed: of the sampler. startup: trials drawn at random before a sampler goes by what it saw, and before
    anything is pruned. population: of `nsga2`.

    checkpoints: shares of the budget at which a trial may be pruned; before B3D's first look, late in a small budget,
    all scans are equal. pruner: `median` ends a trial below the median of the others at that checkpoint, `halving` one
    that is not among the best half, `none` none.

    allowed_false_alarms: FPR above which a setting counts as infeasible; None for no such constraint. storage: URL of
    Optuna's tables, `sqlite:///FILE` or `postgresql://...`; empty for a file beside the results. workers: processes
    that each try a setting; more than one need PostgreSQL.
    """

    model_config = _STRICT

    detector: str = "b3d"
    settings: dict[str, Any] = {}
    service: str | None = None
    space: Annotated[dict[str, Range], Field(min_length=1)] = dict(B3D_SPACE)
    trials: Annotated[int, Field(strict=True, ge=1, le=10_000)] = 40
    sampler: Sampler = "tpe"
    seed: Annotated[int, Field(strict=True, ge=0, le=2**63 - 1)] = 0
    startup: Annotated[int, Field(strict=True, ge=1)] = 10
    population: Annotated[int, Field(strict=True, ge=2)] = 10
    checkpoints: tuple[Annotated[float, Field(strict=True, gt=0, lt=1)], ...] = (0.5, 0.75)
    pruner: Pruner = "median"
    allowed_false_alarms: Annotated[float, Field(strict=True, ge=0, le=1)] | None = None
    storage: str = ""
    workers: Annotated[int, Field(strict=True, ge=1)] = 1

    @field_validator("space", mode="before")
    @classmethod
    def _flat(cls, space: object) -> object:
        """Nested tables as dotted names."""
        return dict(_leaves(space)) if isinstance(space, Mapping) else space

    @model_validator(mode="after")
    def _no_threshold(self) -> TuneConfig:
        rule = self.settings.get("rule")
        if "rule.threshold" in self.space or (isinstance(rule, Mapping) and "threshold" in rule):
            raise ValueError("rule.threshold is not tuned; thresholds are chosen on split 'calibrate', leave it out")
        return self

    @field_validator("checkpoints")
    @classmethod
    def _ascending(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        if any(later <= earlier for earlier, later in pairwise(shares)):
            raise ValueError("give shares of the budget in ascending order")
        return shares


def _leaves(space: Mapping[str, Any], where: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in space.items():
        nested = isinstance(value, Mapping) and value and all(isinstance(part, Mapping) for part in value.values())
        if nested:
            yield from _leaves(value, f"{where}{name}.")
        else:
            yield f"{where}{name}", value
