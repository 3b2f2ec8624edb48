"""The `[tune]` table of a study file: which settings are tuned, and how."""

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
    """Numbers from low to high, both included; integers where both ends are integers."""

    model_config = ConfigDict(**_STRICT, strict=True)

    low: int | float = Field(description="The smallest value.")
    high: int | float = Field(description="The largest value.")
    log: bool = Field(
        default=False, description="Draw values on a logarithmic scale; requires low above 0 and no step."
    )
    step: int | float | None = Field(default=None, description="Draw only low, low + step, low + 2 * step and so on.")

    @model_validator(mode="after")
    def _possible(self) -> Span:
        if self.low >= self.high:
            raise ValueError(f"low {self.low} must lie below high {self.high}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log needs low above 0 and no step")
        if self.step is not None and (self.step <= 0 or (self.whole and not isinstance(self.step, int))):
            raise ValueError(f"step {self.step} must be above 0, and an integer where low and high are")
        return self

    @property
    def whole(self) -> bool:
        """Whether the values are integers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def ends(self) -> tuple[Value, ...]:
        """The smallest and the largest value that may be drawn; if both are valid settings, so are those between."""
        if self.step is None:
            return self.low, self.high
        return self.low, self.low + math.floor((self.high - self.low) / self.step + 1e-9) * self.step


class Choices(BaseModel):
    """One of several values."""

    model_config = _STRICT

    choices: Annotated[tuple[Value, ...], Field(min_length=2)] = Field(description="The values, at least two.")

    @field_validator("choices")
    @classmethod
    def _different(cls, values: tuple[Value, ...]) -> tuple[Value, ...]:
        if len({(type(value), value) for value in values}) < len(values):
            raise ValueError("give each value once")
        return values

    @property
    def ends(self) -> tuple[Value, ...]:
        """All values."""
        return self.choices


Range: TypeAlias = Span | Choices

# Ranges around the values of `b3d`, which were chosen by hand: 0.1 to 10 times the weight, 1/3 to 3 times sigma.
# The number of samples is even, since noise is drawn in antithetic pairs, and at least 4, which leave-one-out needs.
B3D_SPACE: Mapping[str, Range] = MappingProxyType(
    {
        "search.sparsity.weight": Span(low=1e-3, high=1e-1, log=True),
        "search.sigma": Span(low=0.3, high=3.0, log=True),
        "search.samples": Span(low=4, high=100, step=2),
    }
)
"""The default space: B3D's initial sparsity weight, its sigma and its samples (lambda, sigma and k in the slides)."""


class TuneConfig(BaseModel):
    """Which settings are tuned, over which values, and how. The victims are those of the study file."""

    model_config = _STRICT

    detector: str = Field(default="b3d", description="The name of a preset of one stage, such as `b3d` or `race`.")
    settings: dict[str, Any] = Field(
        default={}, description="Settings that are held fixed, as with `--set`, such as `{search = {steps = 60}}`."
    )
    service: str | None = Field(default=None, description="The name of a service of the file; by default the first.")
    space: Annotated[dict[str, Range], Field(min_length=1)] = Field(
        default=dict(B3D_SPACE),
        description="The values of each tuned setting, by its dotted name as in `--set`, as nested tables or with"
        " quoted names. By default B3D's search.sparsity.weight, search.sigma and search.samples, which are lambda,"
        " sigma and k in the slides.",
    )
    trials: Annotated[int, Field(strict=True, ge=1, le=10_000)] = Field(
        default=40, description="Number of trials; the first tries the detector's own values if the space has them."
    )
    sampler: Sampler = Field(default="tpe", description="Optuna's sampler: `tpe`, `random` or `nsga2`.")
    seed: Annotated[int, Field(strict=True, ge=0, le=2**63 - 1)] = Field(default=0, description="Seed of the sampler.")
    startup: Annotated[int, Field(strict=True, ge=1)] = Field(
        default=10, description="Number of random trials before `tpe` uses earlier results and before any pruning."
    )
    population: Annotated[int, Field(strict=True, ge=2)] = Field(default=10, description="Population size of `nsga2`.")
    checkpoints: tuple[Annotated[float, Field(strict=True, gt=0, lt=1)], ...] = Field(
        default=(0.5, 0.75),
        description="Shares of the budget at which a trial may be pruned. B3D's scans do not differ before their first"
        " check of triggers, which comes late in a small budget.",
    )
    pruner: Pruner = Field(
        default="median",
        description="`median` prunes a trial below the median of the others at the same checkpoint, `halving` one that"
        " is not in the better half, `none` prunes nothing.",
    )
    allowed_false_alarms: Annotated[float, Field(strict=True, ge=0, le=1)] | None = Field(
        default=None, description="FPR above which a setting counts as infeasible; by default there is no constraint."
    )
    storage: str = Field(
        default="",
        description="URL of Optuna's tables, `sqlite:///FILE` or `postgresql://...`; by default a file beside the"
        " results.",
    )
    workers: Annotated[int, Field(strict=True, ge=1)] = Field(
        default=1, description="Number of processes that each try a setting; more than one require PostgreSQL."
    )

    @field_validator("space", mode="before")
    @classmethod
    def _flat(cls, space: object) -> object:
        """The space with nested tables turned into dotted names."""
        return dict(_leaves(space)) if isinstance(space, Mapping) else space

    @model_validator(mode="after")
    def _no_threshold(self) -> TuneConfig:
        rule = self.settings.get("rule")
        if "rule.threshold" in self.space or (isinstance(rule, Mapping) and "threshold" in rule):
            raise ValueError("rule.threshold cannot be tuned: thresholds are chosen on split 'calibrate'; remove it")
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
