"""What lines of finished scans say of a budget, and that every detector keeps to it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracles.budget import Budget
from oracles.meter import Metered
from simkit.detectors.access import QueryAccess, QueryDataAccess
from simkit.detectors.registry import DETECTORS
from simkit.verdict import Kind, Verdict
from studies.results.budget.curves import CurveSettings, MethodLines, curve
from studies.results.budget.verdict_at_budget import known_until, stands, verdict_at
from studies.results.table.records import Method
from studies.study.detectors import Method as Detecting
from studies.study.detectors import methods
from studies.study.result_line import ResultLine
from tests.fakes import PlantedOracle, planted_images
from tests.studies.results.table.made import config, line

ALONE = [method for method in methods().values() if method.preset is None and not method.white_box]


def scanned(budget: int | None, queries: int, verdict: str = "backdoored", **changes: Any) -> ResultLine:
    """Of victim 1. A budget that ended: `undecided`, stopped by it."""
    stopped = "budget" if verdict == "undecided" else "decided"
    told = {"stopped": stopped, "queries": queries, "config": config() | {"budget": budget}} | changes
    return line(1, verdict, **told)


def at(lines: list[ResultLine], *budgets: int) -> list[Kind]:
    return [verdict_at(lines, budget).kind for budget in budgets]


def test_a_verdict_stands_from_its_queries_on() -> None:
    told = [scanned(10_000, 700)]
    assert at(told, 1, 699, 700, 10_000, 10**9) == ["undecided", "undecided", *["backdoored"] * 3]
    assert known_until(told) is None
    assert at([scanned(None, 700)], 699, 700) == ["undecided", "backdoored"]


def test_a_scan_that_ran_out_tells_nothing_of_larger_budgets() -> None:
    told = [scanned(1000, 990, "undecided")]
    assert at(told, 1000) == ["undecided"]
    assert known_until(told) == 1000
    assert known_until([*told, scanned(5000, 4990, "undecided")]) == 5000
    assert known_until([*told, scanned(5000, 1200)]) is None


def test_a_test_without_an_answer_is_undecided_for_good() -> None:
    for stopped in ("converged", "refused"):
        told = [scanned(1000, 64, "undecided", stopped=stopped)]
        assert (at(told, 10**6), known_until(told)) == (["undecided"], None)


def test_clean_of_an_older_line_may_be_the_word_of_an_early_stage() -> None:
    staged = config(5000) | {"stages": [{"search": {}}]}
    told = [scanned(5000, 700, "clean", config=staged, stopped="converged")]
    assert (at(told, 699, 5000), known_until(told)) == (["undecided", "clean"], 5000)
    assert known_until([scanned(5000, 700, "backdoored", config=staged)]) is None
    whole = [scanned(5000, 700, "clean", config=staged, stopped="converged", rule_limit=0.25)]
    assert (at(whole, 699, 700, 10**6), known_until(whole)) == (["undecided", "clean", "clean"], None)


def test_of_several_budgets_the_least_that_is_enough_speaks() -> None:
    small, large = scanned(1000, 900, "clean"), scanned(5000, 3000)
    for told in ([small, large], [large, small]):
        assert at(told, 899, 900, 2999, 3000, 9000) == ["undecided", "clean", "clean", "backdoored", "backdoored"]
    ran_out = scanned(1000, 1000, "undecided")
    assert at([ran_out, large], 1000, 2999, 3000) == ["undecided", "undecided", "backdoored"]


def test_whose_course_depends_on_the_budget() -> None:
    assert stands(line(1))
    own = {"budget": 1000, "detector": {"kind": "own.Detector"}}
    assert not stands(line(1, detector="own:DETECTOR", config=own))
    assert stands(line(1, detector="k-arm", config=own))
    assert {method.name for method in ALONE} == {name for name, entry in DETECTORS.items() if entry.whole_test}


class Gate:
    """A detector's verdict and spend under a limit."""

    def __init__(self, method: Detecting) -> None:
        self.method, self.images = method, planted_images(64)

    def __call__(self, limit: int | None) -> tuple[Verdict, int]:
        oracle = PlantedOracle()
        metered = Metered(oracle, Budget(limit))
        data = self.method.access is QueryDataAccess
        access = QueryDataAccess(metered, self.images, limit) if data else QueryAccess(metered, limit)
        return self.method.detector.detect(access), oracle.images_seen


@pytest.mark.parametrize("method", ALONE, ids=lambda method: method.name)
def test_whole_tests_are_the_same_from_their_queries_on(method: Detecting) -> None:
    scan = Gate(method)
    free, queries = scan(None)
    enough, paid = scan(queries)
    assert free.verdict in ("clean", "backdoored")
    assert (enough.verdict, enough.flagged, enough.score, paid) == (free.verdict, free.flagged, free.score, queries)
    short, _ = scan(queries - 1)
    assert (short.verdict, short.stopped) == ("undecided", "budget")


scans = st.lists(
    st.tuples(st.integers(1, 5000), st.sampled_from(["backdoored", "clean", "undecided"]), st.sampled_from([0, 1])),
    min_size=1,
    max_size=12,
)


@given(scans, st.sampled_from(["wrong", "clean"]))
def test_tpr_and_fpr_never_fall(told: list[tuple[int, str, int]], undecided_as: Any) -> None:
    """Of one scan a victim, over all budgets that they tell of, whatever undecided counts as."""
    lines = [
        line(2 * i + odd, verdict, queries=q, stopped="budget" if verdict == "undecided" else "decided")
        for i, (q, verdict, odd) in enumerate(told)
    ]
    scale = CurveSettings(tuple(range(1, 5002, 250)), (1, 5001), undecided_as)
    found = curve(Method("probe", "probe", "c", "scores", None, ()), "probe", MethodLines(lines), scale)
    for shares in ([p.tpr for p in found.steps], [p.fpr for p in found.points], [p.tpr for p in found.points]):
        hits = [share.hits for share in shares]
        assert hits == sorted(hits)
    assert found.points[-1].tpr.hits == sum(verdict == "backdoored" and odd for _, verdict, odd in told)
    undecided = [point.undecided.hits for point in found.steps]
    assert undecided == sorted(undecided, reverse=True)
