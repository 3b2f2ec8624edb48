"""`simkit study leaderboard`: forms and places."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from studies.cli.main import main
from tests.studies.results.table.made import lines, write


def test_the_form_follows_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = str(write(tmp_path / "results.jsonl", lines("cbcb")))
    assert main(["study", "leaderboard", results]) == 0
    assert "4/4 100%" in capsys.readouterr().out
    for name, begins in (
        *(("a.md", "# Leaderboard\n"), ("a.html", "<!DOCTYPE html>"), ("a.csv", "split,zoo,")),
        *(("a.json", "{"), ("a.txt", "Leaderboard\n")),
    ):
        for _ in range(2):  # the second time it is replaced
            assert main(["study", "leaderboard", results, "--out", str(tmp_path / name)]) == 0
        assert (tmp_path / name).read_text(encoding="utf-8").startswith(begins)
    capsys.readouterr()
    assert main(["study", "leaderboard", results, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["boards"][0]["entries"][0]["cell"]["right"]["hits"] == 4


def test_a_page_that_was_written_by_hand_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results, mine = write(tmp_path / "results.jsonl", lines("cb")), tmp_path / "README.md"
    mine.write_text("# Mine\n")
    assert main(["study", "leaderboard", str(results), "--out", str(mine)]) == 5
    assert "exists already and is no leaderboard" in capsys.readouterr().err
    assert mine.read_text() == "# Mine\n"
    assert main(["study", "leaderboard", str(results), "--out", str(results)]) == 2


def test_what_is_no_file_is_not_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results, pipe = write(tmp_path / "results.jsonl", lines("cb")), tmp_path / "pipe.md"
    os.mkfifo(pipe)
    assert main(["study", "leaderboard", str(results), "--out", str(pipe)]) == 5
    assert "exists already and is no leaderboard" in capsys.readouterr().err
