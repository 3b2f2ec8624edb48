"""The table of what searches miss is the count over the lines that it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.coverage import MODULE, counted, measured, module
from simkit.search.presets import PRESETS
from studies.scan.measured import MEASURED
from studies.study.result_file import read_lines
from studies.study.result_line import ResultLine

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
    longer = found.model_copy(update={"config": _of_length(found, 9000)})
    lines = [longer.model_copy(update={"decision_queries": queries}) for queries in (1150, 1151)]
    assert [measured([line], "race", race).missed for line in lines] == [0, 1]
    soon = found.model_copy(update={"decision_queries": 900, "config": _of_length(found, 1150)})
    assert [measured(both, "race", race).missed for both in ([lines[1], soon], [soon, lines[1]])] == [0, 0]
    short = found.model_copy(update={"config": _of_length(found, 900)})
    assert measured([short], "race", race).victims == 0


def _of_length(line: ResultLine, queries: int) -> dict[str, Any]:
    """The line's settings with another query budget of the search."""
    return line.config | {"search": line.config["search"] | {"queries": queries}}
