"""The sparsity weight (lambda in the slides): raised while the trigger works, lowered while it does not."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from simkit.errors import ConfigError

Mode: TypeAlias = Literal["patience", "proportional", "working"]


@dataclass(frozen=True)
class SparsityConfig:
    """The schedule of the sparsity weight, lambda of the slides."""

    weight: float = 1e-3
    """Initial sparsity weight, as loss per pixel of the mask: lambda of the slides."""
    mode: Mode = "patience"
    """`patience` changes the weight after `patience` updates on one side of `required_success`; the others always.

    `patience` is the rule of Neural Cleanse (bolunwang/backdoor, visualizer.py). `proportional` (ours) raises the
    factor to the relative distance between the smoothed success rate and `required_success`. `working` (ours) does the
    same, and leaves the size out of every step in which no sample works: labels say nothing there, and Adam, which
    scales gradients to one length, would empty the mask for the size alone, however small its weight.
    """
    raise_by: float = 1.5
    """Factor by which the weight is raised, above 1."""
    lower_by: float = 1.5**1.5
    """Factor by which the weight is lowered, above 1."""
    patience: int = 5
    """Updates in a row on one side of `required_success` before the weight changes."""
    required_success: float = 0.99
    """Success rate above which the weight is raised and below which it is lowered."""
    smoothing: float = 0.0
    """Weight of the past in the smoothed success rate, in [0, 1)."""
    least: float = 1e-9
    """Lower bound of the weight."""
    most: float = 1e3
    """Upper bound of the weight."""

    def __post_init__(self) -> None:
        if not 0 < self.least <= self.weight <= self.most:
            raise ConfigError(f"sparsity weight {self.weight}; need 0 < least <= weight <= most")
        if self.raise_by <= 1 or self.lower_by <= 1 or self.patience < 1:
            raise ConfigError("a sparsity schedule needs factors above 1 and a patience of 1 or more")
        if not 0 < self.required_success < 1 or not 0 <= self.smoothing < 1:
            raise ConfigError("required_success of a sparsity schedule must lie in (0, 1), smoothing in [0, 1)")


@dataclass(frozen=True)
class Sparsity:
    """The current weight, the smoothed success rate, and the updates in a row above (> 0) or below (< 0) the
    required."""

    weight: float
    success_rate: float | None = None
    streak: int = 0

    def of_step(self, success_rate: float, config: SparsityConfig) -> float:
        """The weight in a step whose samples have this success rate."""
        return 0.0 if config.mode == "working" and success_rate == 0.0 else self.weight

    def after(self, success_rate: float, config: SparsityConfig) -> Sparsity:
        """The schedule one update later; success_rate in [0, 1]."""
        past = success_rate if self.success_rate is None else self.success_rate
        rate = config.smoothing * past + (1 - config.smoothing) * success_rate
        above = rate >= config.required_success
        if config.mode != "patience":
            return Sparsity(self._moved(above, _distance(rate, config.required_success), config), rate)
        streak = (max(self.streak, 0) + 1) if above else (min(self.streak, 0) - 1)
        if abs(streak) < config.patience:
            return replace(self, success_rate=rate, streak=streak)
        return Sparsity(self._moved(above, 1.0, config), rate)

    def _moved(self, above: bool, power: float, config: SparsityConfig) -> float:
        factor = math.pow(config.raise_by, power) if above else math.pow(config.lower_by, -power)
        weight = self.weight * factor
        return min(max(weight, config.least), config.most)


def _distance(rate: float, required: float) -> float:
    """The relative distance of a rate: 0 at the required rate, 1 at 0 or 1."""
    return (rate - required) / (1 - required) if rate >= required else (required - rate) / required
