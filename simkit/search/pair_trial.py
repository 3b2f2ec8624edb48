"""The race's own test: a pair of collage and class is tried on images that are not used for ranking, until decided."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from simkit.search.contract import Evidence, Task
from simkit.triggers import IntArray
from simkit.verdict import SequentialTest

Pair: TypeAlias = tuple[int, int]
"""A row of the pool and a class."""


def ranking_and_testing(images: int, test_share: float) -> tuple[IntArray, IntArray]:
    """Numbers of the search images for ranking and of those kept for the test, at least one of each; images: 2 or more.

    test_share: share of the images that is kept.
    """
    tested = min(max(1, round(test_share * images)), images - 1)
    ranking, testing = np.split(np.arange(images, dtype=np.int32), [images - tested])
    return ranking, testing


def speaking(task: Task, images: IntArray, target: int) -> IntArray:
    """Those of these images that are not of the class itself."""
    return np.asarray(images[task.image_classes[images] != target])


@dataclass(frozen=True, eq=False)
class PairTrial:
    """One pair under test. left: the images (N,) on which it has not been tried. hits, trials: its results so far."""

    pair: Pair
    left: IntArray
    hits: int = 0
    trials: int = 0

    def pairs(self, batch: int) -> IntArray:
        """The next queries, (N, 2): the candidate on each of the next `batch` images."""
        images = self.left[:batch]
        return np.column_stack([np.zeros_like(images), images]).astype(np.int32)

    def after(self, evidence: Evidence) -> PairTrial:
        """The trial after the answers to `pairs`."""
        answered = len(evidence.hit)
        hits = self.hits + int(evidence.hit[:, self.pair[1]].sum())
        return replace(self, left=self.left[answered:], hits=hits, trials=self.trials + answered)

    def passes(self, test: SequentialTest) -> bool | None:
        """Whether the pair passes, None while undecided; if the images run out, the likelier hypothesis decides."""
        decided = test.decide(self.hits, self.trials)
        if decided is not None or len(self.left):
            return decided
        return test.log_ratio(self.hits, self.trials) > 0.0
