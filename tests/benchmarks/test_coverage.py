"""The table of what searches miss is the count over the lines that it names."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.coverage import measured
from simkit.search.presets import PRESETS
from studies.scan.measured import MEASURED
from studies.study.result_file import read_lines

LINES = read_lines(Path(__file__).resolve().parents[2] / "results" / "race-ablation.jsonl")


def test_the_frozen_table_is_the_count() -> None:
    assert (measured(LINES, "race", PRESETS["race"]),) == MEASURED


def test_only_tune_victims_within_the_limit_count() -> None:
    report = [line.model_copy(update={"split": "report"}) for line in LINES]
    assert measured(report, "race", PRESETS["race"]).victims == 0
    assert measured(LINES, "race-wide", PRESETS["race-wide"]).victims == 0, "other settings"


def test_a_miss_counts_and_one_that_may_have_been_ended_too_early_is_an_error() -> None:
    (one, *_) = (line for line in LINES if line.detector.endswith("EARLY_END") and line.stratum == "2x2")
    missed = one.model_copy(update={"flagged": (), "verdict": "clean"})
    with pytest.raises(ValueError, match="may have been ended too early"):
        measured([missed], "race", PRESETS["race"])
    search = one.config["search"] | {"clean_value": 0.8}
    exact = missed.model_copy(update={"config": one.config | {"search": search}})
    assert [measured([line], "race", PRESETS["race"]).missed for line in (exact, one)] == [1, 0]
