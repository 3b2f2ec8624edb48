from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simkit.detectors.whitebox.penalty import Improvement, PenaltyWeight
from simkit.search.sparsity import SparsityConfig

CONFIG = SparsityConfig(weight=0.01, raise_by=2.0, lower_by=4.0, patience=3, required_success=0.9)


def _after(rates: list[float], from_zero: bool = True) -> PenaltyWeight:
    penalty = PenaltyWeight.first(CONFIG, from_zero)
    for rate in rates:
        penalty = penalty.after(rate, CONFIG)
    return penalty


@pytest.mark.parametrize(
    ("rates", "weight"),
    [
        ([], 0.0),
        ([0.0] * 9, 0.0),
        ([1.0, 1.0], 0.0),
        ([1.0, 1.0, 0.5, 1.0, 1.0], 0.0),
        ([1.0, 0.9, 1.0], 0.01),
        ([1.0] * 4, 0.01),
        ([1.0] * 5, 0.02),  # the step that sets the weight is the first of the next three
        ([1.0] * 8, 0.04),
        ([1.0] * 3 + [0.0] * 3, 0.0025),
    ],
)
def test_a_weight_of_zero_is_set_once_the_trigger_works_and_moves_from_there(rates: list[float], weight: float) -> None:
    assert _after(rates).weight == pytest.approx(weight)


def test_a_weight_that_fell_is_not_set_anew() -> None:
    # adversarial-robustness-toolbox sets it back to the first one whenever the trigger has worked for a while
    fallen = _after([1.0] * 3 + [0.0] * 6)
    assert fallen.weight == pytest.approx(0.01 / 16)
    assert _after([1.0] * 3 + [0.0] * 6 + [1.0] * 3).weight == pytest.approx(0.01 / 8)


def test_it_knows_which_ways_the_weight_went() -> None:
    ways = [(p.raised, p.lowered) for p in (_after([0.0] * 6), _after([1.0] * 5), _after([1.0] * 5 + [0.0] * 3))]
    assert ways == [(False, False), (True, False), (True, True)]


def test_without_zero_it_begins_at_the_first_weight() -> None:
    assert [_after([], False).weight, _after([0.0] * 3, False).weight] == pytest.approx([0.01, 0.0025])


def test_a_schedule_held_in_its_bounds_never_went_anywhere() -> None:
    held = SparsityConfig(weight=1.0, least=1.0, most=1.0)
    penalty = PenaltyWeight.first(held, from_zero=False)
    for rate in [1.0] * 20 + [0.0] * 20:
        penalty = penalty.after(rate, held)
    assert (penalty.weight, penalty.raised, penalty.lowered) == (1.0, False, False)


def _improvement(sizes: list[float], ratio: float) -> Improvement:
    improvement = Improvement()
    for size in sizes:
        improvement = improvement.after(size, ratio)
    return improvement


@pytest.mark.parametrize(
    ("sizes", "ratio", "stale"),
    [
        ([math.inf] * 4, 1.0, 0),
        ([math.inf, 9.0], 1.0, 0),
        ([9.0, 9.0, 9.0], 1.0, 2),
        ([9.0, 9.0, 8.9], 1.0, 0),
        ([10.0, 9.95, 9.91], 0.99, 2),  # each step a gain, none of one per cent
        ([10.0, 9.8], 0.99, 0),
    ],
)
def test_steps_without_a_smaller_mask_are_counted(sizes: list[float], ratio: float, stale: int) -> None:
    assert _improvement(sizes, ratio).stale == stale


@given(st.lists(st.floats(0, 1), max_size=40))
def test_the_weight_is_never_negative_and_zero_only_before_it_is_set(rates: list[float]) -> None:
    penalty = _after(rates)
    assert (penalty.weight == 0.0) == (penalty.sparsity is None)
    assert penalty.weight >= 0.0
