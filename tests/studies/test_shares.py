"""Wilson intervals against values known from elsewhere."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studies.statistics import share


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [
        (8, 10, 0.4902, 0.9433),
        (0, 20, 0.0, 0.1611),
        (16, 16, 0.8064, 1.0),
        (190, 200, 0.9104, 0.9726),  # of the slides' 95.0 % of 200 models
        (172, 172, 0.9782, 1.0),
    ],
)
def test_known_intervals(hits: int, trials: int, low: float, high: float) -> None:
    known = share(hits, trials)
    assert (known.hits, known.trials, known.rate) == (hits, trials, hits / trials)
    assert known.low == pytest.approx(low, abs=1e-4)
    assert known.high == pytest.approx(high, abs=1e-4)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_it_is_the_formula(counted: tuple[int, int]) -> None:
    hits, trials = counted
    z, rate = 1.959963984540054, hits / trials
    middle = (rate + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials**2)) / (1 + z * z / trials)
    known = share(hits, trials)
    assert known.low == pytest.approx(middle - half, abs=1e-9)
    assert known.high == pytest.approx(middle + half, abs=1e-9)


def test_nothing_tried_bounds_nothing() -> None:
    known = share(0, 0)
    assert (known.rate, known.low, known.high) == (None, None, None)
