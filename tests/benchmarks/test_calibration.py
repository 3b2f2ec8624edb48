"""The table of verdicts on `calibrate` victims is the count over the lines that it names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.calibration import MODULE, calibrated, module
from studies.scan.calibrated import CALIBRATED, SOURCES
from studies.scan.calibration import Outcomes, deciding_settings
from studies.scan.config import ScanConfig
from studies.study.result_file import checked_lines
from studies.study.result_line import ResultLine
from tests.studies.results.table.made import lines

RESULTS = Path(__file__).resolve().parents[2] / "results"
AUTO: dict[str, Any] = json.loads(json.dumps(ScanConfig.of({"data": "digits"}).identity()))


def made(verdicts: str, **changes: Any) -> list[ResultLine]:
    """Lines of `auto` on calibrate victims, of which those of an even index are clean."""
    told: dict[str, Any] = {"split": "calibrate", "image_shape": (3, 32, 32), "environment": {"output": "logits"}}
    return lines(verdicts, **told | {"config": AUTO, "rule_limit": 1.0} | changes)


def test_the_frozen_table_is_the_count_and_its_module_what_the_script_writes() -> None:
    entries = calibrated(checked_lines([RESULTS / name for name in SOURCES]))
    assert entries == CALIBRATED
    assert module(entries, SOURCES) == MODULE.read_text(encoding="utf-8")
    of_today = [ScanConfig.of({"data": "digits", "preset": e.detector, "oracle": e.service}) for e in entries]
    assert [deciding_settings(config.identity()) for config in of_today] == [e.settings for e in entries], (
        "a preset has changed since it was calibrated, so its probability is gone: calibrate it again, or take it out"
    )


def test_verdicts_are_counted_by_the_truth() -> None:
    (entry,) = calibrated(made("cbcubbci"))
    assert (entry.detector, entry.service, entry.size, entry.zoos) == ("probe", "scores", (32, 32), ("small",))
    assert (entry.backdoored, entry.clean) == (Outcomes(4, 2, 0), Outcomes(4, 1, 3))


def test_zoos_are_pooled_and_a_victim_counts_once() -> None:
    again = made("cbcb", zoo="other") + made("bccc", config=AUTO | {"seed": 1})
    more = [line.model_copy(update={"model_hash": "another", "zoo": "third"}) for line in made("c")]
    (entry,) = calibrated(made("cb") + again + more)
    assert entry.zoos == ("other", "small", "third")
    assert (entry.backdoored, entry.clean) == (Outcomes(2, 2, 0), Outcomes(3, 0, 3))


@pytest.mark.parametrize(
    "changes",
    [
        {"split": "report"},
        {"environment": {}},
        {"config": {"detector": "nc"}},
        {"config": AUTO | {"stages": AUTO["stages"]}, "rule_limit": None},
    ],
    ids=["another split", "a model elsewhere", "no scan", "perhaps an early clean"],
)
def test_other_lines_count_nothing(changes: dict[str, Any]) -> None:
    assert calibrated(line.model_copy(update=changes) for line in made("cc")) == ()


def test_one_kind_of_victim_makes_no_entry_and_a_line_without_a_shape_is_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert calibrated(made("ccc")[::2]) == ()
    assert capsys.readouterr().err == ""
    assert calibrated(made("cb", image_shape=None)) == ()
    assert capsys.readouterr().err.startswith("small:0: states no shape of its images")


def test_the_written_module_gives_the_entries_back() -> None:
    by_labels = AUTO | {"oracle": AUTO["oracle"] | {"label_only": True}}
    entries = calibrated(made("cb") + made("cbcb", zoo="other", config=by_labels))
    space: dict[str, Any] = {}
    exec(module(entries, ["a.jsonl", "b.jsonl"]), space)
    assert space["CALIBRATED"] == entries
    assert [entry.service for entry in entries] == ["scores", "label"]
    assert space["SOURCES"] == ("a.jsonl", "b.jsonl")
