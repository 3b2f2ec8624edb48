"""The race's own test: a pair of collage and class is tried on images that rank nothing, until its rate is decided."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from simkit.search.contract import Evidence
from simkit.triggers import IntArray
from simkit.verdict import SequentialTest

Pair: TypeAlias = tuple[int, int]
"""A row of the pool, and a class."""


@dataclass(frozen=True, eq=False)
class PairTrial:
    """One pair under test. left: images (N,) it has not been tried on; hits, trials: of those it has."""

    pair: Pair
    left: IntArray
    hits: int = 0
    trials: int = 0

    def pairs(self, batch: int) -> IntArray:
        """The next queries, (N, 2): the one candidate, and each of the next `batch` images."""
        images = self.left[:batch]
        return np.column_stack([np.zeros_like(images), images]).astype(np.int32)

    def after(self, evidence: Evidence) -> PairTrial:
        """The trial with the answers to `pairs`."""
        answered = len(evidence.hit)
        hits = self.hits + int(evidence.hit[:, self.pair[1]].sum())
        return replace(self, left=self.left[answered:], hits=hits, trials=self.trials + answered)

    def passes(self, test: SequentialTest) -> bool | None:
        """Whether the pair passes, None before it is decided; where images run out, by what is likelier."""
        decided = test.decide(self.hits, self.trials)
        if decided is not None or len(self.left):
            return decided
        return test.log_ratio(self.hits, self.trials) > 0.0
