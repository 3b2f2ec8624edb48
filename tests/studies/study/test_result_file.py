"""Lines of results: added by many, sound after a kill, never twice."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from db.errors import StorageError
from simkit.errors import DataError
from studies.scan.canonical import digest
from studies.study import result_file
from studies.study.result_file import append_line, find_line, length, read_lines
from studies.study.result_line import ResultLine
from tests.studies.results.table.made import line as result_line

RESULTS = Path(__file__).resolve().parents[3] / "results"

CLASS = {"target_class": 3, "mask_size": 4.0, "success_rate": None, "censored": True}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    out = tmp_path / "results" / "new.jsonl"
    assert read_lines(out) == []
    first = result_line(0, classes=(CLASS,), notes="é; a\nline feed")
    second = result_line(1, score=None, attack=None)
    assert append_line(out, first)
    assert append_line(out, second)
    assert read_lines(out) == [first, second]
    assert out.read_bytes().count(b"\n") == 2


def test_a_unit_is_written_once(tmp_path: Path) -> None:
    out = tmp_path / "a.jsonl"
    assert append_line(out, result_line(0))
    assert not append_line(out, result_line(0, seconds=9.0))
    assert [line.seconds for line in read_lines(out)] == [2.0]
    for other in ({"model_hash": "another"}, {"config_hash": "another"}, {"detector": "b3d-slides"}, {"zoo": "large"}):
        assert append_line(out, result_line(0, **other))


def test_a_unit_is_found_among_others(tmp_path: Path) -> None:
    out = tmp_path / "a.jsonl"
    assert find_line(out, result_line(0).unit) is None
    for index in (0, 1, 2):
        append_line(out, result_line(index))
    assert find_line(out, result_line(1).unit) == result_line(1)
    assert find_line(out, result_line(3).unit) is None
    assert find_line(out, result_line(1, detector="b3d-slides").unit) is None


@pytest.mark.parametrize("cut", [1, 40])
def test_a_line_that_a_kill_left_unfinished_is_none(cut: int, tmp_path: Path) -> None:
    out = tmp_path / "a.jsonl"
    for index in (0, 1):
        append_line(out, result_line(index))
    out.write_bytes(out.read_bytes()[:-cut])
    assert [line.index for line in read_lines(out)] == [0]
    assert append_line(out, result_line(2))
    assert [line.index for line in read_lines(out)] == [0, 2]


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where the lines stand that are parsed from now on."""
    places: list[str] = []
    known = result_file._line

    def counted(where: str, text: bytes) -> ResultLine:
        places.append(where)
        return known(where, text)

    monkeypatch.setattr(result_file, "_line", counted)
    return places


def test_only_what_was_added_since_is_read_again(tmp_path: Path, parsed: list[str]) -> None:
    out = tmp_path / "a.jsonl"
    out.write_text("".join(f"{result_line(index).model_dump_json()}\n" for index in range(50)))
    checked = length(out)
    assert find_line(out, result_line(60).unit) is None
    assert append_line(out, result_line(60), checked)
    assert parsed == []
    assert append_line(out, result_line(61), checked)
    assert not append_line(out, result_line(60), checked)
    assert len(parsed) == 3
    assert [line.index for line in read_lines(out)] == [*range(50), 60, 61]


def test_a_line_that_came_since_is_seen_also_behind_a_torn_one_and_in_a_file_made_anew(tmp_path: Path) -> None:
    out = tmp_path / "a.jsonl"
    append_line(out, result_line(0))
    whole = out.read_bytes()
    out.write_bytes(whole + b'{"torn')
    assert length(out) == len(whole)
    assert append_line(out, result_line(1), length(out))
    out.write_bytes(out.read_bytes()[len(whole) :])
    assert not append_line(out, result_line(1), 10 * len(whole))
    assert [line.index for line in read_lines(out)] == [1]


def test_a_foreign_line_that_came_since_is_named(tmp_path: Path) -> None:
    out = tmp_path / "a.jsonl"
    append_line(out, result_line(0))
    checked = length(out)
    out.write_bytes(out.read_bytes() + b"no JSON\n")
    with pytest.raises(DataError, match=rf"after byte {checked}: line 1: is no result line"):
        append_line(out, result_line(1), checked)


def test_a_line_by_a_former_name_is_found(tmp_path: Path) -> None:
    out = tmp_path / "a.jsonl"
    out.write_text((RESULTS / "cifar10.jsonl").read_text().splitlines()[0] + "\n")
    (line,) = read_lines(out)
    assert line.config_hash.encode() not in out.read_bytes()
    assert find_line(out, line.unit) == line


def test_many_at_once_lose_nothing(tmp_path: Path) -> None:
    out, twice = tmp_path / "a.jsonl", [index for index in range(12) for _ in range(2)]
    with ThreadPoolExecutor(8) as pool:
        written = list(pool.map(lambda index: append_line(out, result_line(index)), twice))
    assert sum(written) == 12
    assert sorted(line.index for line in read_lines(out)) == list(range(12))


@pytest.mark.parametrize("foreign", [b'{"zoo": "a"}\n', b"no JSON\n", b"\n"])
def test_a_foreign_line_is_named_and_kept(foreign: bytes, tmp_path: Path) -> None:
    out = tmp_path / "a.jsonl"
    append_line(out, result_line(0))
    before = out.read_bytes() + foreign
    out.write_bytes(before)
    with pytest.raises(DataError, match=r"a\.jsonl:2: is no result line"):
        append_line(out, result_line(1))
    assert out.read_bytes() == before


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="cannot be read"):
        append_line(tmp_path / "folder", result_line(0))


def test_lines_from_before_a_preset_was_renamed_are_those_of_today() -> None:
    text = (RESULTS / "cifar10.jsonl").read_text().splitlines()[0]
    assert json.loads(text)["detector"] == "efficient"
    line = ResultLine.model_validate_json(text)
    assert (line.detector, line.config["preset"], line.config_hash) == ("b3d", "b3d", digest(line.config))
    assert ResultLine.model_validate_json(line.model_dump_json()) == line
