"""The weight of the penalty for one class, and the rule for stopping, as in Neural Cleanse.

Source: bolunwang/backdoor, visualizer.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from simkit.search.sparsity import Sparsity, SparsityConfig


@dataclass(frozen=True)
class PenaltyWeight:
    """The weight of one class's penalty. Every class starts with its own and passes nothing on to the next.

    sparsity: the current schedule, None while the weight is 0. streak: successful steps in a row before it is set.
    raised, lowered: whether the weight was ever raised or lowered.
    """

    sparsity: Sparsity | None
    streak: int = 0
    raised: bool = False
    lowered: bool = False

    @classmethod
    def first(cls, config: SparsityConfig, from_zero: bool) -> PenaltyWeight:
        """The weight before the first step: 0, or the initial weight of the schedule."""
        return cls(None if from_zero else Sparsity(config.weight))

    @property
    def weight(self) -> float:
        """The factor of the penalty, 0 or more."""
        return 0.0 if self.sparsity is None else self.sparsity.weight

    def after(self, success_rate: float, config: SparsityConfig) -> PenaltyWeight:
        """The weight one step later; success_rate in [0, 1].

        A weight of 0 is set after `patience` successful steps in a row. It is never reset afterwards
        (adversarial-robustness-toolbox does that, so that its weight can never rise).
        """
        if self.sparsity is not None:
            return self._moved(self.sparsity, success_rate, config)
        streak = self.streak + 1 if success_rate >= config.required_success else 0
        if streak < config.patience:
            return PenaltyWeight(None, streak)
        return self._moved(Sparsity(config.weight), success_rate, config)  # this step counts in the next streak

    def _moved(self, before: Sparsity, success_rate: float, config: SparsityConfig) -> PenaltyWeight:
        now = before.after(success_rate, config)
        raised, lowered = now.weight > before.weight, now.weight < before.weight
        return PenaltyWeight(now, 0, self.raised or raised, self.lowered or lowered)


@dataclass(frozen=True)
class Improvement:
    """The number of steps since the smallest working mask of a class shrank. best: in pixels, infinite before any."""

    best: float = math.inf
    stale: int = 0

    def after(self, size: float, ratio: float) -> Improvement:
        """The state one step later. size: smallest working mask so far; an improvement if below ratio * best."""
        if math.isinf(size):
            return self
        stale = self.stale + 1 if size >= ratio * self.best else 0
        return replace(self, best=min(size, self.best), stale=stale)
