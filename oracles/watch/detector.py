"""What a detector of probing is: it sees the queries of one caller in order and scores each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from oracles.answers import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Found:
    """What a detector says about N queries, in order.

    scores: float64 (N,), higher is more suspicious; a query raises an alarm if its score is above the threshold.
    nearest: int64 (N,), the ordinal of the earlier query that it resembles most, counted since the detector was made;
    -1 where there is none, and for detectors that judge no single query.
    """

    scores: NDArray[np.float64]
    nearest: NDArray[np.int64]

    @classmethod
    def of(cls, rows: list[tuple[float, int]]) -> Found:
        """From one (score, nearest) per query."""
        return cls(np.array([s for s, _ in rows], np.float64), np.array([n for _, n in rows], np.int64))


class Detector(Protocol):
    """Keeps a history of the queries. What it says depends on their order only, not on how they came in calls."""

    def observe(self, images: FloatArray, labels: IntArray) -> Found:
        """Score these queries and remember them.

        images: float32 (N, C, H, W) in [0, 1]. labels: int32 (N,), the class that was answered.
        """
        ...
