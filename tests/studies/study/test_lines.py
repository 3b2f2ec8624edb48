"""Lines are read whole or refused by file and line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from simkit.errors import DataError
from studies.study.result_file import checked_lines
from tests.studies.results.table.made import line, lines, write


def test_all_files_in_order(tmp_path: Path) -> None:
    told = lines("cbcb")
    first, second = write(tmp_path / "a.jsonl", told[:3]), write(tmp_path / "b.jsonl", told[3:])
    assert checked_lines([first, second]) == told


def test_the_same_scan_counts_once_and_its_last_line_stands(tmp_path: Path) -> None:
    again = line(1, seconds=9.0, environment={"threads": 2})
    assert checked_lines([write(tmp_path / "a.jsonl", [line(1), line(0), again])]) == [again, line(0)]


def test_another_configuration_is_another_scan(tmp_path: Path) -> None:
    other = line(1, config_hash="other")
    assert len(checked_lines([write(tmp_path / "a.jsonl", [line(1), other])])) == 2


@pytest.mark.parametrize("changes", [{"verdict": "backdoored"}, {"queries": 7}, {"data_hash": "others"}])
def test_two_tellings_of_one_scan_are_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    file = write(tmp_path / "a.jsonl", [line(0), line(1), line(0).model_copy(update=changes)])
    with pytest.raises(DataError, match=r"a\.jsonl, line 3: differs from .*a\.jsonl, line 1"):
        checked_lines([file])


@pytest.mark.parametrize(
    "changes", [{"model_hash": "remade"}, {"stratum": "5x5"}, {"target_classes": (2,)}, {"implant_success": 0.5}]
)
def test_a_victim_is_one_in_all_lines(tmp_path: Path, changes: dict[str, Any]) -> None:
    file = write(tmp_path / "a.jsonl", [line(1), line(1, detector="nc", **changes)])
    with pytest.raises(DataError, match=r"line 2: victim 1 of zoo small differs from that in .*line 1"):
        checked_lines([file])


def test_the_same_index_of_another_split_is_another_victim(tmp_path: Path) -> None:
    other = line(1, split="tune", model_hash="other")
    assert len(checked_lines([write(tmp_path / "a.jsonl", [line(1), other])])) == 2


def test_a_torn_line_is_told(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", lines("cb"))
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"a\.jsonl, line 2: is incomplete"):
        checked_lines([file])


def test_a_whole_last_line_without_an_end_is_no_harm(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", lines("cb"))
    file.write_bytes(file.read_bytes().rstrip() + b"\n\n" + line(2).model_dump_json().encode())
    assert len(checked_lines([file])) == 3


def test_foreign_lines_and_files_are_told(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", lines("cb"))
    file.write_text(file.read_text() + '{"attack": "blended"}\n')
    with pytest.raises(DataError, match=r"a\.jsonl, line 3: is no result line: zoo: Field required"):
        checked_lines([file])
    with pytest.raises(DataError, match=r"missing\.jsonl: cannot be read"):
        checked_lines([tmp_path / "missing.jsonl"])


def test_an_older_score_of_a_confirmed_small_trigger_is_raised_to_the_scale_of_today() -> None:
    small, sizes = ({"rule": {"name": name}} for name in ("small_share", "below_median"))
    found = [line(1, "backdoored", score=0.9, flagged=(3,), config=rule) for rule in (small, sizes)]
    assert [one.ranked for one in found] == [1.9, 0.9]
    assert line(1, "clean", score=0.9, flagged=(), config=small).ranked == 0.9
    assert line(1, "backdoored", score=1.9, flagged=(3,), config=small, rule_limit=1 / 64).ranked == 1.9
    assert line(1, "invalid", score=None, flagged=(), config=small).ranked is None
