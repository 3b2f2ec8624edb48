"""The area under the ROC curve while some scans have not ended: known answers, and what must always hold."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studies.results.budget.order import order
from studies.results.budget.verdict_at_budget import VerdictAt
from studies.statistics import Ranking, ranking


def ended(kind: Any, score: float | None) -> VerdictAt:
    return VerdictAt(kind, score, True, 10)


OPEN = VerdictAt("undecided", None, False, 10)
FOUND, CLEAN = ended("backdoored", 2.0), ended("clean", 0.5)


@pytest.mark.parametrize(
    ("backdoored", "clean", "auroc"),
    [
        ([OPEN, OPEN], [OPEN], 0.5),
        ([FOUND, OPEN], [OPEN, OPEN], 0.75),
        ([OPEN, OPEN], [CLEAN, OPEN], 0.5),  # who has not ended is no more suspicious than who was found clean
        ([CLEAN, OPEN], [OPEN], 0.5),
        ([OPEN], [FOUND, CLEAN], 0.25),
        ([OPEN], [ended("invalid", None)], 0.5),
        ([OPEN], [ended("undecided", 3.0)], 0.5),
        ([FOUND, CLEAN], [ended("clean", 1.0)], 0.5),
    ],
)
def test_who_has_not_ended_ranks_level_with_all_that_are_not_found(
    backdoored: list[VerdictAt], clean: list[VerdictAt], auroc: float
) -> None:
    assert order(backdoored, clean).auroc == auroc


def test_where_nothing_can_be_said() -> None:
    silent = ended("undecided", None)
    assert order([silent], [silent]) == Ranking(None, None, None, 2)
    assert order([], [OPEN]) == Ranking(None, None, None, 1)
    assert order([OPEN, OPEN], [OPEN, OPEN]) == Ranking(0.5, None, None, 4, (2, 2))


kinds = st.sampled_from(["backdoored", "clean", "undecided", "invalid"])


def test_of_scans_in_stages_the_verdict_comes_first() -> None:
    """A patch found scores its success rate, and B3D's end without a finding a ratio of sizes, which may be larger."""
    found, cleared = VerdictAt("backdoored", 0.9, True, 10, staged=True), VerdictAt("clean", 2.4, True, 10, staged=True)
    assert order([found], [cleared]).auroc == 1.0
    assert order([found], [cleared, OPEN]).auroc == 1.0
    assert order([ended("backdoored", 0.9)], [ended("clean", 2.4)]).auroc == 0.0


words = st.builds(ended, kinds, st.integers(0, 4) | st.none())
decided = st.builds(ended, st.sampled_from(["backdoored", "clean"]), st.integers(0, 4) | st.none())


@given(st.lists(decided, min_size=1, max_size=6), st.lists(decided, min_size=1, max_size=6))
def test_where_all_have_a_verdict_their_scores_rank(backdoored: list[VerdictAt], clean: list[VerdictAt]) -> None:
    expected = ranking([word.score for word in backdoored], [word.score for word in clean])
    assert order(backdoored, clean) == expected
    plain = order(backdoored, clean, interval=False)
    assert (plain.auroc, plain.low) == (expected.auroc, None)


@pytest.mark.parametrize("score", [None, 0.1, 9.0])
@pytest.mark.parametrize("staged", [False, True])
def test_no_score_lifts_a_scan_without_a_verdict_above_a_finished_clean_one(score: float | None, staged: bool) -> None:
    ran_out = VerdictAt("undecided", score, True, 10, staged)
    assert order([ran_out], [CLEAN]).auroc == order([CLEAN], [ran_out]).auroc == 0.5
    assert order([FOUND], [ran_out]).auroc == 1.0
    assert order([ran_out], [FOUND]).auroc == 0.0


mixed = words | st.just(OPEN)


@given(st.lists(mixed, min_size=1, max_size=6), st.lists(mixed, min_size=1, max_size=6))
def test_it_lies_between_nothing_and_all(backdoored: list[VerdictAt], clean: list[VerdictAt]) -> None:
    auroc = order(backdoored, clean, interval=False).auroc
    assert auroc is None or 0.0 <= auroc <= 1.0


lengths = st.lists(st.integers(1, 5), min_size=1, max_size=6)


@given(lengths, lengths)
def test_it_never_falls_while_scans_end_that_are_right(backdoored: list[int], clean: list[int]) -> None:
    """Of scans that find what is there and nothing else, each ended from its own number of queries on."""

    def at(budget: int) -> float:
        first = [FOUND if queries <= budget else OPEN for queries in backdoored]
        second = [CLEAN if queries <= budget else OPEN for queries in clean]
        auroc = order(first, second, interval=False).auroc
        assert auroc is not None
        return auroc

    course = [at(budget) for budget in range(6)]
    assert course == sorted(course)
