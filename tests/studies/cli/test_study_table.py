"""`simkit study table`: forms, places, and what is refused in one line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from studies.cli.main import main
from tests.studies.results.table.made import lines, write


@pytest.fixture
def results(tmp_path: Path) -> Path:
    tuned = [one.model_copy(update={"split": "tune"}) for one in lines("uu")]
    return write(tmp_path / "results.jsonl", [*lines("cbcb"), *lines("cccc", detector="nc"), *tuned])


def test_text_is_the_default(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "table", str(results)]) == 0
    said = capsys.readouterr().out
    assert "4/4 100% (51-100)" in said
    assert "Lines left out: 2 of split tune" in " ".join(said.split())


def test_other_forms_are_asked_for_or_named_by_the_file(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", "table", str(results), "--format", "json", "--split", "tune"]) == 0
    assert json.loads(capsys.readouterr().out)["zoos"][0]["cells"][0]["undecided"]["hits"] == 2
    for name, begins in (("a.html", "<!DOCTYPE html>"), ("a.csv", "split,zoo,"), ("a.json", "{"), ("a.txt", "small\n")):
        place = tmp_path / name
        assert main(["study", "table", str(results), "--out", str(place)]) == 0
        assert place.read_text(encoding="utf-8").startswith(begins)
        assert capsys.readouterr().out == f"{place}: written\n"
    assert main(["study", "table", str(results), "--format", "csv", "--out", str(tmp_path / "a.txt")]) == 0
    assert len(list(csv.reader((tmp_path / "a.txt").open()))) == 1 + 2 + 2 * (3 + 2)


def test_a_zoo_and_a_breakdown_may_be_named(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "table", str(results), "--zoo", "small", "--by", "attack"]) == 0
    said = capsys.readouterr().out
    assert "Detected victims, by attack" in said
    assert "Detected victims, by architecture" not in said


def test_what_cannot_be_done_is_one_line_and_leaves_nothing(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write(tmp_path / "other.jsonl", lines("cb"))
    torn = tmp_path / "torn.jsonl"
    torn.write_text(results.read_text()[:-20])
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    refused: list[tuple[list[str], int, str]] = [
        ([str(tmp_path / "missing.jsonl")], 4, "cannot be read"),
        ([str(torn)], 4, "torn.jsonl, line 10: is incomplete"),
        ([str(results), "--split", "calibrate"], 2, "try --split report, --split tune"),
        ([str(results), "--zoo", "none"], 2, "choose from small"),
        ([str(results), "--by", "colour"], 2, "--by"),
        ([str(results), "--ledgers", str(tmp_path / "none")], 5, "no folder of ledgers"),
        ([str(results), "--out", str(results)], 2, "is an input file"),
        ([str(results), "--out", str(other)], 5, "exists already"),
        ([str(results), "--out", str(tmp_path)], 5, "is a folder"),
        (
            [str(results), "--out", str(tmp_path / "table.xlsx")],
            2,
            "ends in .txt, .csv, .json, .html, or give --format",
        ),
        ([str(results), "--out", str(tmp_path / "none" / "a.html")], 5, "does not exist; create it"),
    ]
    for args, code, said in refused:
        assert main(["study", "table", *args]) == code, args
        told = capsys.readouterr()
        assert said in told.err, args
        assert (told.err.count("\n"), told.out) == (1, ""), args
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
