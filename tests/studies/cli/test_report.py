"""`simkit report`: where the page goes, and what is refused in one line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from db.check import check
from studies.cli.main import main
from tests.studies.report.ledgers import Kept, write, zoo


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return write(tmp_path / "scan.db", Kept(), Kept(verdict="clean"))


def test_the_page_lies_beside_the_ledger(db: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = db.read_bytes()
    assert main(["report", str(db)]) == 0
    page = db.with_name("scan.db.html")
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert capsys.readouterr().out == f"{page}: 2 runs of {db}\n"
    assert db.read_bytes() == before
    assert [path.name for path in db.parent.glob("*.html*")] == [page.name]
    assert not list(db.parent.glob("*.tmp"))


def test_a_page_is_replaced(db: Path) -> None:
    page = db.with_name("scan.db.html")
    page.touch()
    assert main(["report", str(db), "--run", "2"]) == 0
    first = page.read_bytes()
    assert main(["report", str(db)]) == 0
    assert len(page.read_bytes()) > len(first) > 0


def test_runs_zoo_and_file_may_be_named(db: Path, tmp_path: Path) -> None:
    page = tmp_path / "own.html"
    named = ["--run", "2", "--zoo", str(zoo(tmp_path / "zoo")), "--out", str(page)]
    assert main(["report", str(db), *named]) == 0
    text = page.read_text(encoding="utf-8")
    assert "(1 more in the ledger)" in text
    assert "class 2 &lt;bird&gt;" in text


def test_what_cannot_be_done_is_one_line_and_leaves_nothing(
    db: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("not a ledger\n" * 20)
    other = write(tmp_path / "other.db", Kept())
    refused: list[tuple[list[str], int, str]] = [
        ([str(tmp_path / "missing.db")], 5, "no ledger there"),
        ([str(tmp_path / "notes.txt")], 5, "not an SQLite file"),
        ([str(db), "--run", "9"], 2, "has no run 9"),
        ([str(db), "--out", str(db)], 2, "is the ledger"),
        ([str(db), "--out", str(tmp_path / "none" / "a.html")], 5, "does not exist; create it"),
        ([str(db), "--out", str(tmp_path)], 5, "a folder"),
        ([str(db), "--out", str(other)], 5, "not an HTML page"),
        ([str(db), "--out", str(tmp_path / "notes.txt")], 5, "not an HTML page"),
        ([str(db), "--out", os.devnull], 5, "not an HTML page"),
        ([str(db), "--zoo", str(tmp_path)], 4, "folder of a zoo"),
        ([], 2, "DB"),
    ]
    for arguments, code, said in refused:
        assert main(["report", *arguments]) == code
        told = capsys.readouterr()
        assert said in told.err
        assert (told.out, told.err.count("\n")) == ("", 1)
    assert check(db) == check(other) == []
    assert not list(tmp_path.glob("*.html"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(db: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    assert main(["report", str(db), "--out", str(folder / "a.html")]) == 5
    assert "is not writable" in capsys.readouterr().err
