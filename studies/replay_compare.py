"""Stored answers beside the answers of today, bit for bit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oracles.answers import Answer, FloatArray, Scores, TopK, decode, encode, top_label

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Compared:
    """Queries whose answers were compared.

    different: not the same to the last bit. labels: of them, those with another best class. largest: the largest
    difference of one score, None where no two scores can be set beside each other.
    """

    queries: int = 0
    different: int = 0
    labels: int = 0
    largest: float | None = None

    @property
    def equal(self) -> int:
        return self.queries - self.different

    def and_also(self, other: Compared) -> Compared:
        """Both together."""
        largest = max((v for v in (self.largest, other.largest) if v is not None), default=None)
        return Compared(
            self.queries + other.queries, self.different + other.different, self.labels + other.labels, largest
        )


def compared(codec: str, stored: bytes, answer: Answer, rows: NDArray[np.intp]) -> Compared:
    """The stored answers of one call beside `answer` to the same images, the `rows` of them alone."""
    before = decode(codec, stored)
    differ = _differ((codec, stored), encode(answer), len(answer))[rows]
    labels = (top_label(before) != top_label(answer))[rows]
    return Compared(len(rows), int(differ.sum()), int(labels.sum()), _largest(before, answer, rows))


def _differ(one: tuple[str, bytes], other: tuple[str, bytes], queries: int) -> BoolArray:
    if one[0] != other[0] or len(one[1]) != len(other[1]):
        return np.ones(queries, dtype=np.bool_)
    first, second = (np.frombuffer(data, np.uint8).reshape(queries, -1) for _, data in (one, other))
    differ: BoolArray = (first != second).any(axis=1)
    return differ


def _largest(one: Answer, other: Answer, rows: NDArray[np.intp]) -> float | None:
    if isinstance(one, Scores) and isinstance(other, Scores):
        return _span(one.values[rows], other.values[rows])
    if isinstance(one, TopK) and isinstance(other, TopK) and one.classes.shape == other.classes.shape:
        same = one.classes[rows] == other.classes[rows]  # where a class is named at the same place
        return _span(one.values[rows][same], other.values[rows][same])
    return None


def _span(one: FloatArray, other: FloatArray) -> float | None:
    if one.shape != other.shape:
        return None
    spans = np.abs(one.astype(np.float64) - other)
    finite = spans[np.isfinite(spans)]  # NaN beside a number differs, by how much nobody can say
    return float(finite.max()) if finite.size else None
