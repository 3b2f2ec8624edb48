"""`simkit study budget`: forms, places, and what is refused in one line."""

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


def test_text_is_the_default(
    results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")  # a narrow terminal folds its cells
    assert main(["study", "budget", str(results), "--detector", "probe", "--budgets", "4000,1000"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Verdicts by query budget, split report\n")
    assert "4/4 100% (51-100)" in said
    assert "nc" not in said.split()
    assert "Lines left out: 2 of split tune" in " ".join(said.split())


def test_other_forms_and_a_figure(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figure = tmp_path / "b.svg"
    asked = ["study", "budget", str(results), "--undecided-as", "clean", "--figure", str(figure)]
    assert main([*asked, "--format", "json"]) == 0
    said = capsys.readouterr()
    assert (json.loads(said.out)["undecided_as"], said.err) == ("clean", f"{figure}: written\n")
    assert "<svg" in figure.read_text(encoding="utf-8")
    for name, begins in (("a.html", "<!DOCTYPE html>"), ("a.csv", "split,zoo,"), ("a.json", "{"), ("a.txt", "Verd")):
        place = tmp_path / name
        assert main(["study", "budget", str(results), "--out", str(place), "--budgets", "1000"]) == 0
        assert place.read_text(encoding="utf-8").startswith(begins)
        assert capsys.readouterr().out == f"{place}: written\n"
    assert len(list(csv.reader((tmp_path / "a.csv").open()))) == 1 + 2


def test_zoos_are_pooled_on_demand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = [one.model_copy(update={"zoo": "large", "model_hash": f"large {one.index}"}) for one in lines("cb")]
    file = write(tmp_path / "a.jsonl", [*lines("cb"), *other])
    assert main(["study", "budget", str(file), "--pool", "--format", "csv"]) == 0
    assert "small + large" in capsys.readouterr().out
    assert main(["study", "budget", str(file), "--zoo", "large", "--format", "csv"]) == 0
    assert "small" not in capsys.readouterr().out


def test_what_cannot_be_done_is_one_line_and_leaves_nothing(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    refused: list[tuple[list[str], int, str]] = [
        ([str(tmp_path / "missing.jsonl")], 4, "cannot be read"),
        ([str(empty)], 2, "no result line is of split report"),
        ([str(results), "--split", "calibrate"], 2, "try --split report, --split tune"),
        ([str(results), "--zoo", "none"], 2, "choose from small"),
        ([str(results), "--detector", "none"], 2, "choose from probe, nc"),
        ([str(results), "--budgets", "3k"], 2, "--budgets '3k': write numbers of queries"),
        ([str(results), "--budgets", "0"], 2, "give 1 or more"),
        ([str(results), "--undecided-as", "right"], 2, "--undecided-as"),
        ([str(results), "--figure", str(tmp_path / "a.pdf")], 2, "ends in .png or .svg"),
        ([str(results), "--figure", str(tmp_path / "none" / "a.png")], 5, "does not exist; create it"),
        ([str(results), "--out", str(results)], 2, "is an input file"),
    ]
    for args, code, said in refused:
        assert main(["study", "budget", *args]) == code, args
        told = capsys.readouterr()
        assert said in told.err, args
        assert (told.err.count("\n"), told.out) == (1, ""), args
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
