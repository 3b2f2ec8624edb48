"""PRADA: callers whose queries are spaced in a way that natural images are not."""

from __future__ import annotations

from collections import Counter, deque

import numpy as np
from numpy.typing import NDArray

from oracles.answers import FloatArray, IntArray
from oracles.watch.detector import Found

THRESHOLD = 0.1
"""An alarm needs 1 - W above this. Our own choice; it should be calibrated on honest traffic."""

MEMORY = 2_000
"""Number of images, over all classes, that distances are measured to. Our own choice: 12 kB each for 32x32x3."""

DISTANCES = 5_000
"""Number of latest distances that are tested. Shapiro and Wilk's statistic is known up to this size."""

_EVERY, _PER_CLASS, _AT_LEAST, _OUTLIERS = 10, 10, 100, 3.0


class PRADA:
    """Scores a query by 1 - W, 0 to 1, of Shapiro and Wilk's test of normality on the caller's distances so far.

    A distance is that of a query to the nearest image of the growing set of its answered class; a query joins this set
    if its distance is above the threshold of the class, the largest mean less one standard deviation of the set's
    distances so far. Every 10 queries the distances of the classes that have 10 or more are pooled, those beyond 3
    standard deviations left out, and tested if more than 100 are left; until then the score is 0.

    Source: `src/growing_set.py` and `src/growing_set_ops.py`, the code of the authors (Juuti et al. 2019) in
    SSGAalto/prada-protecting-against-dnn-model-stealing-attacks; we have not read the paper. Simplified: the latest
    5,000 distances are tested; no set grows once `memory` images are kept; equal distances, of which W is not defined,
    score 1. The threshold of the alarm is our own.
    """

    def __init__(self, memory: int = MEMORY) -> None:
        self._memory, self._kept, self._seen = memory, 0, 0
        self._sets: dict[int, _GrowingSet] = {}
        self._distances: deque[tuple[int, float]] = deque(maxlen=DISTANCES)
        self._score = 0.0

    def observe(self, images: FloatArray, labels: IntArray) -> Found:
        """See `Detector.observe`; names no nearest query."""
        flat = images.reshape(len(images), -1)
        return Found.of([(self._one(image, int(label)), -1) for image, label in zip(flat, labels, strict=True)])

    def _one(self, image: FloatArray, label: int) -> float:
        growing = self._sets.setdefault(label, _GrowingSet())
        if growing.images:
            distance = growing.distance(image)
            self._distances.append((label, distance))
            joins = distance > growing.threshold
        else:
            distance, joins = 0.0, True
        if joins and self._kept < self._memory:
            growing.add(image, distance)
            self._kept += 1
        if self._seen % _EVERY == 0:
            self._test()
        self._seen += 1
        return self._score

    def _test(self) -> None:
        often = Counter(label for label, _ in self._distances)
        pooled = np.array([d for label, d in self._distances if often[label] >= _PER_CLASS])
        if len(pooled) > _AT_LEAST:
            inside = np.abs(pooled - pooled.mean()) < _OUTLIERS * pooled.std()
            if not inside.any():
                self._score = 1.0
            elif inside.sum() > _AT_LEAST:
                self._score = abnormality(pooled[inside])


def abnormality(distances: NDArray[np.float64]) -> float:
    """1 - W of Shapiro and Wilk: 0 for the quantiles of a normal distribution, 1 if all distances are equal."""
    from scipy import stats  # slow to import, and needed from 100 queries on

    if np.ptp(distances) <= 1e-12 * max(1.0, float(np.abs(distances).max())):
        return 1.0
    return 1.0 - float(stats.shapiro(distances).statistic)


class _GrowingSet:
    """The images of a class that distances are measured to."""

    def __init__(self) -> None:
        self.images = 0
        self.threshold = 0.0
        self._rows: FloatArray = np.empty((0, 0), np.float32)
        self._distances: list[float] = []

    def distance(self, image: FloatArray) -> float:
        """The L2 distance to the nearest image of the set."""
        apart = self._rows[: self.images] - image
        return float(np.sqrt(np.einsum("ij,ij->i", apart, apart).min()))

    def add(self, image: FloatArray, distance: float) -> None:
        if self.images == len(self._rows):
            rows = np.empty((max(8, 2 * self.images), len(image)), np.float32)
            rows[: self.images] = self._rows[: self.images] if self.images else 0.0
            self._rows = rows
        self._rows[self.images] = image
        self.images += 1
        self._distances.append(distance)
        if self.images > 1:
            self.threshold = max(self.threshold, float(np.mean(self._distances) - np.std(self._distances)))
