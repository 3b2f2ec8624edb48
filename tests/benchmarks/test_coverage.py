"""The table of what searches miss is the count over the lines that it names."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.coverage import measured
from simkit.search.family_race import FamilyRaceConfig
from simkit.search.presets import PRESETS
from studies.scan.measured import MEASURED
from studies.study.result_file import read_lines

RESULTS = Path(__file__).resolve().parents[2] / "results"
LINES = [line for name in ("race-ablation", "families") for line in read_lines(RESULTS / f"{name}.jsonl")]


def test_the_frozen_table_is_the_count() -> None:
    race, families = PRESETS["race"], PRESETS["race-families"]
    counted = [
        measured(LINES, "race-families", families, family, labels=labels)
        for labels in (False, True)
        for family in FamilyRaceConfig().families
    ]
    assert (measured(LINES, "race", race), *counted) == MEASURED


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
