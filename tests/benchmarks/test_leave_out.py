"""What `auto` would find without one of its stages, from scans of each stage alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import leave_out
from studies.study.result_file import read_lines

LINES = list(read_lines(Path(__file__).resolve().parents[2] / "results" / "stage-lengths.jsonl"))


@pytest.mark.parametrize(("labels", "scans"), [(False, (80, 73)), (True, (55, 49))])
def test_each_kind_of_trigger_is_lost_without_the_stage_that_was_made_for_it(
    labels: bool, scans: tuple[int, int]
) -> None:
    every, whole, *without = leave_out.rows(LINES, labels=labels)
    assert (every["all"], whole["all"]) == scans
    assert whole["all"] > max(row["all"] for row in without)
    lost = {row["counted"].removeprefix("found without "): row for row in without}
    assert (lost["race"]["patches to 3x3"] < whole["patches to 3x3"]) is labels, "by scores mosaics find them too"
    assert ("race-mosaics" in lost) is not labels
    if not labels:
        assert lost["race-mosaics"]["other patches"] < whole["other patches"]
    assert lost["race-families"]["waves"] == lost["race-warps"]["warps"] == 0 < min(whole["waves"], whole["warps"])
    assert lost["race-pictures"]["pictures"] < whole["pictures"]


def test_a_find_beyond_the_length_that_a_stage_has_in_auto_does_not_count() -> None:
    late = [line.model_copy(update={"decision_queries": 10**6}) for line in LINES]
    assert leave_out.rows(late, labels=False)[1]["all"] == 0


def test_a_victim_that_lacks_a_stage_does_not_count() -> None:
    some = [line for line in LINES if line.detector != "race-warps"]
    assert leave_out.rows(some, labels=False)[0]["all"] == 0
