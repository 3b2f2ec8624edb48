"""Answers side by side: known differences of every kind of answer."""

from __future__ import annotations

import numpy as np
import pytest

from oracles.answers import Answer, FloatArray, IntArray, Labels, Scores, TopK, encode
from studies.replay.ask_again import Compared, compared

SCORES = np.array([[0.75, 0.25], [0.5, 0.5], [0.25, 0.75]], np.float32)
OTHER = np.array([[0.75, 0.25], [0.25, 0.5], [0.75, 0.25]], np.float32)
CLASSES = np.array([[0, 1], [0, 1], [1, 0]], np.int32)
ALL = np.arange(3)


def top(values: FloatArray, classes: IntArray = CLASSES) -> TopK:
    return TopK(classes, values, 2)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (Scores(SCORES), Scores(SCORES.copy()), Compared(3, 0, 0, 0.0)),
        (Scores(SCORES), Scores(OTHER), Compared(3, 2, 2, 0.5)),
        (Scores(SCORES), Scores(SCORES, 0.5), Compared(3, 3, 0, 0.0)),
        (Scores(SCORES), Scores(np.full_like(SCORES, np.nan)), Compared(3, 3, 1, None)),
        (Scores(SCORES), Labels(np.array([0, 0, 0], np.int32), 2), Compared(3, 3, 1, None)),
        (top(SCORES), top(OTHER), Compared(3, 2, 0, 0.5)),
        (top(SCORES), top(SCORES, 1 - CLASSES), Compared(3, 3, 3, None)),
        (top(SCORES), TopK(CLASSES[:, :1], SCORES[:, :1], 2), Compared(3, 3, 0, None)),
        (Labels(np.array([0, 1, 1], np.int32), 2), Labels(np.array([0, 1, 0], np.int32), 2), Compared(3, 1, 1, None)),
    ],
)
def test_what_differs(one: Answer, other: Answer, expected: Compared) -> None:
    assert compared(*encode(one), other, ALL) == expected


def test_rows_of_the_sample_alone() -> None:
    found = compared(*encode(Scores(SCORES)), Scores(OTHER), np.array([0, 1]))
    assert found == Compared(2, 1, 1, 0.25)
    assert found.equal == 1


def test_nan_is_equal_to_the_same_nan() -> None:
    values = np.full((3, 2), np.nan, np.float32)
    assert compared(*encode(Scores(values)), Scores(values.copy()), ALL) == Compared(3, 0, 0, None)


def test_comparisons_add_up() -> None:
    none = Compared(2, 1, 1, None)
    assert Compared().and_also(none) == none
    assert none.and_also(Compared(3, 2, 0, 0.5)) == Compared(5, 3, 1, 0.5)
