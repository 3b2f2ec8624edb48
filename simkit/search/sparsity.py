"""How much a pixel of mask costs: raised while the trigger works, lowered while it does not."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from simkit.errors import ConfigError

Mode: TypeAlias = Literal["patience", "proportional"]


@dataclass(frozen=True)
class SparsityConfig:
    """A schedule of the sparsity weight.

    weight: the first one, loss per pixel. mode: `patience` moves it by a whole factor after `patience` updates in a row
    on one side of required_success (Neural Cleanse, bolunwang/backdoor, visualizer.py); `proportional` moves it at
    every update by that factor to the power of the relative distance between the smoothed success rate and
    required_success (our own). raise_by, lower_by: the factors, > 1. smoothing: weight of the past in the smoothed
    rate, in [0, 1). least, most: bounds of the weight.
    """

    weight: float = 1e-3
    mode: Mode = "patience"
    raise_by: float = 1.5
    lower_by: float = 1.5**1.5
    patience: int = 5
    required_success: float = 0.99
    smoothing: float = 0.0
    least: float = 1e-9
    most: float = 1e3

    def __post_init__(self) -> None:
        if not 0 < self.least <= self.weight <= self.most:
            raise ConfigError(f"sparsity weight {self.weight}; need 0 < least <= weight <= most")
        if self.raise_by <= 1 or self.lower_by <= 1 or self.patience < 1:
            raise ConfigError("a sparsity schedule needs factors above 1 and a patience of 1 or more")
        if not 0 < self.required_success < 1 or not 0 <= self.smoothing < 1:
            raise ConfigError("required_success of a sparsity schedule must lie in (0, 1), smoothing in [0, 1)")


@dataclass(frozen=True)
class Sparsity:
    """The weight in force, the smoothed success rate, and its streak above (> 0) or below (< 0) the required one."""

    weight: float
    success_rate: float | None = None
    streak: int = 0

    def after(self, success_rate: float, config: SparsityConfig) -> Sparsity:
        """The schedule one update later; success_rate in [0, 1]."""
        past = success_rate if self.success_rate is None else self.success_rate
        rate = config.smoothing * past + (1 - config.smoothing) * success_rate
        above = rate >= config.required_success
        if config.mode == "proportional":
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
    """0 at the required rate, 1 at the far end of its side."""
    return (rate - required) / (1 - required) if rate >= required else (required - rate) / required
