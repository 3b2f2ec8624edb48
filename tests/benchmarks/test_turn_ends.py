"""What finds would cost with other turns, from scans of each stage alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import turn_ends
from benchmarks.leave_out import EXTRA, Scan, finds, lengths, whole_scans
from simkit.search.turns import Turns
from studies.study.result_file import read_lines
from studies.study.result_line import ClassLine

REPOSITORY = Path(__file__).resolve().parents[2]
LINES = list(read_lines(REPOSITORY / "results" / "stage-lengths.jsonl"))
LIMITS = {"race": 1_000, "race-families": 1_000}
SOME: Scan = {
    name: line.model_copy(update={"detector": name, "flagged": (), "target_classes": (3,), "decision_queries": 900})
    for name, line in zip(LIMITS, LINES, strict=False)
}


def found(name: str, after: int, unseen: int = 0) -> Scan:
    """A scan that one stage finds something in, the last queries on unseen images."""
    classes = [ClassLine(target_class=3, mask_size=4.0, success_rate=1.0, censored=False, trials=unseen)]
    found = {"flagged": (3,), "decision_queries": after, "classes": classes}
    return {**SOME, name: SOME[name].model_copy(update=found)}


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


@pytest.mark.parametrize(("unseen", "cost"), [(0, 1_000 + 450), (49, 1_000 + 450), (50, 450)])
def test_unseen_images_are_tried_in_the_turn_that_finds(unseen: int, cost: int) -> None:
    turns = {"race": Turns((400,)), "race-families": None}
    assert turn_ends.cost(found("race", 450, unseen), LIMITS, turns) == cost


def test_a_scan_in_which_nothing_is_found_has_no_cost() -> None:
    with pytest.raises(ValueError, match="no stage"):
        turn_ends.cost(SOME, LIMITS, dict.fromkeys(LIMITS))


@pytest.mark.parametrize("labels", [False, True])
def test_the_table_of_the_page_is_that_of_the_lines(labels: bool) -> None:
    page = (REPOSITORY / "docs" / "measured" / "auto.md").read_text()
    for row in turn_ends.rows(LINES, 2_000, labels=labels):
        cells = (row[column] for column in turn_ends.COLUMNS)
        told = " | ".join(f"{cell:,}" if isinstance(cell, int) else cell for cell in cells)
        assert f"\n| {told} |\n" in page


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
