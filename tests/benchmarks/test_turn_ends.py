"""What finds would cost with other turns, from scans of each stage alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import turn_ends
from benchmarks.leave_out import EXTRA, Scan, finds, lengths, whole_scans
from simkit.search.turns import Turns
from studies.study.result_file import read_lines

LINES = list(read_lines(Path(__file__).resolve().parents[2] / "results" / "stage-lengths.jsonl"))
LIMITS = {"race": 1_000, "race-families": 1_000}
SOME: Scan = {
    name: line.model_copy(update={"detector": name, "flagged": (), "target_classes": (3,), "decision_queries": 900})
    for name, line in zip(LIMITS, LINES, strict=False)
}


def found(name: str, after: int) -> Scan:
    """A scan that one stage finds something in."""
    return {**SOME, name: SOME[name].model_copy(update={"flagged": (3,), "decision_queries": after})}


@pytest.mark.parametrize(
    ("name", "after", "ends", "cost"),
    [
        ("race", 300, (400, None), 300),
        ("race-families", 300, (400, None), 400 + 300),
        ("race", 700, (400, None), 1_000 + 700),
        ("race", 700, (400, 200), 200 + 700),
        ("race-families", 700, (400, 200), 1_000 + 700),
        ("race-families", 300, (None, None), 1_000 + 300),
        ("race", 1_000 + EXTRA, (None, None), 1_000 + EXTRA),
    ],
)
def test_a_find_costs_what_was_asked_before_it_in_the_order_of_the_turns(
    name: str, after: int, ends: tuple[int | None, ...], cost: int
) -> None:
    turns = {stage: None if end is None else Turns((end,)) for stage, end in zip(LIMITS, ends, strict=True)}
    assert turn_ends.cost(found(name, after), LIMITS, turns) == cost


def test_a_scan_in_which_nothing_is_found_has_no_cost() -> None:
    with pytest.raises(ValueError, match="no stage"):
        turn_ends.cost(SOME, LIMITS, dict.fromkeys(LIMITS))


@pytest.mark.parametrize(("labels", "means"), [(False, (2325, 2310, 2505, 2830)), (True, (2695, 2956, 3200))])
def test_the_figures_of_the_page_are_those_of_the_lines(labels: bool, means: tuple[int, ...]) -> None:
    rows = turn_ends.rows(LINES, 50, labels=labels)
    assert tuple(row["mean of kinds"] for row in rows[: len(means)]) == means
    assert rows[-1]["turns"] == "the best of those drawn"


def test_the_best_of_those_drawn_is_the_cheapest_and_follows_the_seed() -> None:
    limits = lengths(labels=True)
    scans = [
        scan for scan in whole_scans(LINES, limits, labels=True) if any(finds(line, limits) for line in scan.values())
    ]
    today = turn_ends.named(labels=True)["as they are"]
    few, many = (turn_ends.best(scans, limits, today, drawn) for drawn in (5, 100))
    costs = [turn_ends.cost_by_kind(scans, limits, turns)["mean of kinds"] for turns in (few, many)]
    assert costs[0] >= costs[1]
    assert many == turn_ends.best(scans, limits, today, 100)
