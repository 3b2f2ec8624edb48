"""The table of what searches miss is the count over the lines that it names."""

from __future__ import annotations

from pathlib import Path

from benchmarks.coverage import MODULE, counted, measured, module
from simkit.search.presets import PRESETS
from studies.scan.measured import MEASURED
from studies.study.result_file import read_lines

RESULTS = Path(__file__).resolve().parents[2] / "results"
LINES = [
    line for name in ("race-ablation", "stage-lengths", "auto-stages") for line in read_lines(RESULTS / f"{name}.jsonl")
]


def test_the_frozen_table_is_the_count() -> None:
    assert MODULE.read_text(encoding="utf-8") == module(counted(LINES))
    assert counted(LINES) == MEASURED


def test_only_tune_victims_within_the_limit_count() -> None:
    report = [line.model_copy(update={"split": "report"}) for line in LINES]
    assert measured(report, "race", PRESETS["race"]).victims == 0
    assert measured(LINES, "race-wide", PRESETS["race-wide"]).victims == 0, "other settings"


def test_a_miss_counts_and_a_search_with_an_early_end_does_not() -> None:
    one = next(line for line in LINES if line.flagged and measured([line], "race", PRESETS["race"]).victims)
    missed = one.model_copy(update={"flagged": (), "verdict": "clean"})
    assert [measured([line], "race", PRESETS["race"]).missed for line in (missed, one)] == [1, 0]
    search = one.config["search"] | {"clean_from": 1200}
    ended = one.model_copy(update={"config": one.config | {"search": search}})
    assert measured([ended], "race", PRESETS["race"]).victims == 0


def test_a_longer_search_counts_with_what_it_found_within_the_length_of_the_preset() -> None:
    race = PRESETS["auto"]
    found = next(line for line in LINES if line.flagged and measured([line], "race", race).victims)
    longer = found.model_copy(update={"config": found.config | {"search": found.config["search"] | {"queries": 9000}}})
    lines = [longer.model_copy(update={"decision_queries": queries}) for queries in (1150, 1151)]
    assert [measured([line], "race", race).missed for line in lines] == [0, 1]
    assert measured([lines[1], found], "race", race) == measured([found], "race", race), "the shorter one counts"
    short = found.model_copy(update={"config": found.config | {"search": found.config["search"] | {"queries": 900}}})
    assert measured([short], "race", race).victims == 0
