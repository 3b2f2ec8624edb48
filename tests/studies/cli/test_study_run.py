"""`simkit study new`, `run` and `status`, on the demo's two victims."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from db import reads
from studies.cli.main import main
from studies.study.result_file import read_lines
from tests.studies.study.files import ASKS, FAILS, HEAD, LOOKS, written

LABEL = "[services.scores]\n[services.label]\nlabel_only = true\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def zoo(demo_victims: Path) -> Path:
    return demo_victims / "zoo"


def run(*args: str) -> int:
    return main(["study", "run", "study.toml", *args])


def told(capsys: pytest.CaptureFixture[str]) -> str:
    return re.sub(" +", " ", capsys.readouterr().out)


def test_a_study_is_done_once(zoo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path, zoo, ASKS, LOOKS, more=LABEL)
    assert run("--dry-run") == 0
    assert "small: 0 scans done, 6 left\n" in told(capsys)
    assert [entry.name for entry in tmp_path.iterdir()] == ["study.toml"]
    assert run() == 0
    said = told(capsys)
    assert said.endswith("\nsmall: 6 scans done, 0 left, 6 of them now\n")
    assert f" demo {ASKS} label 1 2 0 1 64 \n" in said
    assert f"{ASKS} (label): clean, " in said
    assert run() == 0
    assert told(capsys).endswith("small: 6 scans done, 0 left\n")
    assert len(read_lines(tmp_path / "results.jsonl")) == len(list((tmp_path / "ledgers").glob("*.db"))) == 6


def test_what_was_done_before_is_told(zoo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path, zoo, ASKS)
    assert run() == 0
    written(tmp_path, zoo, ASKS, head=f"{HEAD}seeds = [0, 5]")
    assert main(["study", "status", "study.toml"]) == 0
    assert f" demo {ASKS} scores 2 2 2 1 64 \n" in told(capsys)
    assert main(["study", "status", "study.toml", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["done"], answer["left"], answer["scanned"]) == (2, 2, 0)
    assert answer["grid_rows"][0]["detector"] == ASKS
    assert run("--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["done"], answer["left"], answer["scanned"], answer["failures"]) == (4, 0, 2, [])


def test_a_budget_below_the_plan_is_said_once_and_first(
    zoo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head = HEAD.replace("budget = 2000", "budget = 90\nseeds = [0, 5]")
    written(tmp_path, zoo, "random-patch", head=head, more=LABEL)
    assert run() == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "warning: a budget" in line]
    assert len(said) == 1
    assert said[0].startswith("simkit: warning: a budget of 90 queries is less than the 3,3")
    assert said[0].endswith("no preset fits")
    assert run() == 0
    assert "warning" not in capsys.readouterr().err, "nothing is left to be scanned"


@pytest.mark.process
def test_many_processes_do_what_one_does(zoo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path, zoo, ASKS, LOOKS, more="[workers]\nprocesses = 2\n")
    assert run() == 0
    assert told(capsys).endswith("small: 4 scans done, 0 left, 4 of them now\n")
    assert {line.environment["threads"] for line in read_lines(tmp_path / "results.jsonl")} == {1}


def test_a_scan_that_fails_is_told_and_left(zoo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path, zoo, FAILS, ASKS)
    Path("fail").touch()
    assert run("--json") == 1
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert (answer["done"], answer["left"], answer["failed"]) == (2, 2, 2)
    failure = {"zoo": "demo", "index": 0, "detector": FAILS, "service": "scores", "seed": 0}
    assert answer["failures"][0] == failure | {"error": "this detector fails"}
    assert err.count(f"simkit: error: {FAILS} (scores) on victim") == 2
    Path("fail").unlink()
    assert run() == 0
    assert told(capsys).endswith("small: 4 scans done, 0 left, 2 of them now\n")


def test_a_ledger_of_a_newer_simkit_is_told_in_one_line(
    zoo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path, zoo, ASKS, more="")
    assert run() == 0
    (tmp_path / "results.jsonl").unlink()
    for path in (tmp_path / "ledgers").glob("demo-0000-*.db"):
        with closing(sqlite3.connect(path)) as ledger:  # closed, it has its log in it
            ledger.execute("PRAGMA user_version = 99")
    capsys.readouterr()
    assert run() == 1
    out, err = capsys.readouterr()
    assert out.endswith("small: 1 scans done, 1 left, 1 of them now, 1 failed\n")
    assert re.fullmatch(r"simkit: error: .* on victim 0: .*\.db: written by a newer simkit \(.*\); upgrade\n", err)


def test_finished_ledgers_are_merged_once(zoo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path, zoo, ASKS)
    assert run("--merge") == 0
    assert told(capsys).endswith(f"2 merged into {tmp_path / 'study.db'}\n")
    written(tmp_path, zoo, ASKS, LOOKS)
    assert run("--merge", "--json") == 0
    assert json.loads(capsys.readouterr().out)["merged"] == {"file": str(tmp_path / "study.db"), "added": 2}
    assert run("--merge", "--json") == 0
    assert json.loads(capsys.readouterr().out)["merged"]["added"] == 0
    assert len(reads.runs(tmp_path / "study.db")) == 4


def test_what_is_wrong_is_told_and_nothing_is_asked(
    zoo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path, zoo, ASKS, head=f"{HEAD}budgt = 3")
    assert run() == 2
    assert capsys.readouterr().err == "simkit: error: study.toml: there is no key 'budgt'; did you mean 'budget'?\n"
    written(tmp_path, zoo, ASKS)
    assert run("--executor", "elsewhere") == 2
    assert "no executor 'elsewhere'" in capsys.readouterr().err
    assert [entry.name for entry in tmp_path.iterdir()] == ["study.toml"]


def test_a_new_file_is_written_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "new", "mine.toml", "--example", "tune"]) == 0
    before = Path("mine.toml").read_bytes()
    assert main(["study", "new", "mine.toml"]) == 2
    assert "mine.toml: exists already" in capsys.readouterr().err
    assert Path("mine.toml").read_bytes() == before
    assert main(["study", "run", "mine.toml"]) == 2
    assert "zoos[zoo]: there is no zoo in " in capsys.readouterr().err


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "schema"]) == 0
    assert "zoos" in json.loads(capsys.readouterr().out)["properties"]
