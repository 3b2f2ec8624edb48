"""How much the penalty weighs for one class, and when to stop.

The rules are Neural Cleanse's: bolunwang/backdoor, visualizer.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from simkit.search.sparsity import Sparsity, SparsityConfig


@dataclass(frozen=True)
class PenaltyWeight:
    """The weight of one class's penalty. Frozen: every class begins with its own, and carries nothing to the next.

    sparsity: the schedule in force, None while the weight is still 0. streak: successful steps in a row until it is
    set. raised, lowered: whether the weight ever went that way.
    """

    sparsity: Sparsity | None
    streak: int = 0
    raised: bool = False
    lowered: bool = False

    @classmethod
    def first(cls, config: SparsityConfig, from_zero: bool) -> PenaltyWeight:
        """Before any step: 0, or the schedule's first weight."""
        return cls(None if from_zero else Sparsity(config.weight))

    @property
    def weight(self) -> float:
        """What the penalty is multiplied by, 0 or more."""
        return 0.0 if self.sparsity is None else self.sparsity.weight

    def after(self, success_rate: float, config: SparsityConfig) -> PenaltyWeight:
        """One step later; success_rate in [0, 1].

        A weight of 0 is set after `patience` successful steps in a row, and only then: a set weight is never set back
        (adversarial-robustness-toolbox does so, and its weight can never rise).
        """
        if self.sparsity is not None:
            return self._moved(self.sparsity, success_rate, config)
        streak = self.streak + 1 if success_rate >= config.required_success else 0
        if streak < config.patience:
            return PenaltyWeight(None, streak)
        return self._moved(Sparsity(config.weight), success_rate, config)  # the setting step counts in the next streak

    def _moved(self, before: Sparsity, success_rate: float, config: SparsityConfig) -> PenaltyWeight:
        now = before.after(success_rate, config)
        raised, lowered = now.weight > before.weight, now.weight < before.weight
        return PenaltyWeight(now, 0, self.raised or raised, self.lowered or lowered)


@dataclass(frozen=True)
class Improvement:
    """How long the smallest working mask of one class has not become smaller. best: in pixels, infinite before any."""

    best: float = math.inf
    stale: int = 0

    def after(self, size: float, ratio: float) -> Improvement:
        """One step later. size: of the smallest working mask so far, a gain if below ratio times the best before."""
        if math.isinf(size):
            return self
        stale = self.stale + 1 if size >= ratio * self.best else 0
        return replace(self, best=min(size, self.best), stale=stale)
