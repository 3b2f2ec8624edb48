"""How much a pixel of mask costs: raised while the trigger works, lowered while it does not."""

from __future__ import annotations

from dataclasses import dataclass, replace

from simkit.errors import ConfigError


@dataclass(frozen=True)
class SparsityConfig:
    """The schedule of Neural Cleanse (bolunwang/backdoor, visualizer.py), as facts about its public code have it.

    weight: the first sparsity weight, loss per pixel. raise_by, lower_by: factors > 1. patience: updates in a row on
    one side of required_success before the weight moves. required_success: in (0, 1]. most: the largest weight.
    """

    weight: float = 1e-3
    raise_by: float = 1.5
    lower_by: float = 1.5**1.5
    patience: int = 5
    required_success: float = 0.99
    most: float = 1e3

    def __post_init__(self) -> None:
        if self.weight <= 0 or self.raise_by <= 1 or self.lower_by <= 1 or self.patience < 1:
            raise ConfigError(f"sparsity schedule {self}; need weight > 0, factors > 1, patience >= 1")
        if not 0 < self.required_success <= 1:
            raise ConfigError(f"required_success {self.required_success}; must lie in (0, 1]")


@dataclass(frozen=True)
class Sparsity:
    """The weight in force, and how many updates in a row were above and below the required success."""

    weight: float
    above: int = 0
    below: int = 0

    def after(self, success_rate: float, config: SparsityConfig) -> Sparsity:
        """The schedule one update later; success_rate in [0, 1]."""
        if success_rate >= config.required_success:
            if self.above + 1 >= config.patience:
                return Sparsity(min(self.weight * config.raise_by, config.most))
            return replace(self, above=self.above + 1, below=0)
        if self.below + 1 >= config.patience:
            return Sparsity(self.weight / config.lower_by)
        return replace(self, above=0, below=self.below + 1)
