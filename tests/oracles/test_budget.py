from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracles.budget import Budget
from oracles.errors import BudgetExhausted


@given(cap=st.integers(0, 50), asked=st.lists(st.integers(1, 30)))
def test_spending_never_passes_the_cap_and_a_refusal_costs_nothing(cap: int, asked: list[int]) -> None:
    budget, expected = Budget(cap), 0
    for queries in asked:
        if expected + queries <= cap:
            budget.reserve(queries)
            expected += queries
        else:
            with pytest.raises(BudgetExhausted, match=f"{cap - expected} queries left, {queries} were asked"):
                budget.reserve(queries)
        assert (budget.spent, budget.remaining) == (expected, cap - expected)


@given(
    caps=st.tuples(*[st.none() | st.integers(0, 60)] * 3),
    asked=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 25)), max_size=12),
)
def test_all_or_nothing_in_every_parent(caps: tuple[int | None, ...], asked: list[tuple[int, int]]) -> None:
    study = Budget(caps[0], name="study")
    nodes = [study, Budget(caps[1], study), Budget(caps[2], study)]
    own = [0, 0, 0]
    for index, queries in asked:
        before = [node.spent for node in nodes]
        left = nodes[index].remaining
        if left is None or queries <= left:
            nodes[index].reserve(queries)
            own[index] += queries
        else:
            with pytest.raises(BudgetExhausted):
                nodes[index].reserve(queries)
            assert [node.spent for node in nodes] == before
    assert [node.spent for node in nodes] == [sum(own), own[1], own[2]]


def test_the_refusal_names_the_budget_that_refused() -> None:
    scan = Budget(10, Budget(3, name="study"))
    with pytest.raises(BudgetExhausted) as caught:
        scan.reserve(5)
    assert (caught.value.name, caught.value.remaining) == ("study", 3)


def test_release_gives_back_here_and_above() -> None:
    study = Budget(10, name="study")
    scan = Budget(None, study)
    scan.reserve(7)
    scan.release(3)
    assert (scan.spent, study.spent, scan.remaining) == (4, 4, 6)


def test_no_limit_anywhere_has_no_remainder() -> None:
    assert Budget(None, Budget(None)).remaining is None


def test_spent_before_counts() -> None:
    budget = Budget(10, spent=8)
    assert budget.remaining == 2
    with pytest.raises(BudgetExhausted):
        budget.reserve(3)


def test_wrong_numbers() -> None:
    with pytest.raises(ValueError, match="0 or more"):
        Budget(-1)
    with pytest.raises(ValueError, match="already spent"):
        Budget(3, spent=4)
    with pytest.raises(ValueError, match="already spent"):
        Budget(3, spent=-1)
    for queries in (0, -2):
        with pytest.raises(ValueError, match="cannot reserve"):
            Budget(3).reserve(queries)
    for queries in (0, -1, 3):
        with pytest.raises(ValueError, match="cannot release"):
            Budget(9, spent=2).release(queries)


def test_threads_share_one_budget_to_the_last_query() -> None:
    study = Budget(1000, name="study")
    scans = [Budget(None, study) for _ in range(4)]
    start = threading.Barrier(4)

    def spend(scan: Budget) -> None:
        start.wait()
        while True:
            try:
                scan.reserve(3)
            except BudgetExhausted:
                return
            if scan.spent % 5 == 0:
                scan.release(1)

    threads = [threading.Thread(target=spend, args=(scan,)) for scan in scans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(scan.spent for scan in scans) == study.spent
    assert 998 <= study.spent <= 1000


@pytest.mark.parametrize("wrong", [True, False, 1.0, 2.5, math.nan, math.inf, "7", b"7", [3], np.array([1, 2]), 1j])
def test_only_whole_numbers_are_budgets(wrong: Any) -> None:
    for numbers in ({"cap": wrong}, {"cap": 10, "spent": wrong}):
        with pytest.raises(TypeError, match="must be a whole number"):
            Budget(**numbers)
    budget = Budget(10, spent=3)
    for method in (budget.reserve, budget.release):
        with pytest.raises(TypeError, match="must be a whole number"):
            method(wrong)
    assert budget.spent == 3


def test_narrow_integers_do_not_wrap_around() -> None:
    budget = Budget(np.int8(127), spent=np.int8(100))  # type: ignore[arg-type]
    with pytest.raises(BudgetExhausted):
        budget.reserve(np.int8(100))  # type: ignore[arg-type]
    budget.reserve(np.uint8(27))  # type: ignore[arg-type]
    assert (budget.spent, type(budget.spent)) == (127, int)


def test_a_cap_that_changes_counts_from_the_next_reservation() -> None:
    budget = Budget(5, spent=4)
    budget.change_cap(6)
    budget.reserve(2)
    budget.change_cap(3)
    assert (budget.remaining, budget.spent) == (0, 6)
    with pytest.raises(BudgetExhausted, match="has 0 queries left"):
        budget.reserve(1)
    budget.change_cap(None)
    budget.reserve(100)
    for wrong in (-1, 1.5):
        with pytest.raises((ValueError, TypeError)):
            budget.change_cap(wrong)  # type: ignore[arg-type]
