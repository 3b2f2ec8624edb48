"""`simkit replay` on scans of the demo's victims: what it prints, and how it ends."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from db.records import checksum
from studies.cli.main import main


@pytest.fixture(scope="module")
def scanned_db(demo_victims: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small scan behind a noisy service."""
    db = tmp_path_factory.mktemp("replay") / "scan.db"
    args = [_model(demo_victims), "--data", "digits", "--budget", "1500", "--preset", "random-patch", "--threads", "1"]
    main(["scan", *args, "--oracle", "noisy", "--set", "search.largest_side=3", "--db", str(db)])
    return db


def _model(demo_victims: Path, index: int = 1) -> str:
    return str(demo_victims / "zoo" / f"{index:04d}.safetensors")


def test_model_and_data_are_those_the_ledger_names(scanned_db: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(scanned_db)]) == 0
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.startswith("run 1: ")
    assert "compared: " in second
    assert second.split("compared: ")[1] == f"{second.split(', ')[1].split(' compared')[0]} equal"
    assert third == "the verdict follows from the answers"


def test_a_sample_as_json(scanned_db: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(scanned_db), "1", "--sample", "30", "--seed", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["compared"]["queries"], told["compared"]["equal"], told["holds"]) == (30, 30, True)


def test_another_model_is_asked_on_purpose(
    scanned_db: Path, demo_victims: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", str(scanned_db), "--model", _model(demo_victims, 0)]) == 0
    out = capsys.readouterr().out
    assert "not the run's: differences are expected" in out
    assert "different, " in out


def test_a_changed_answer_ends_with_5(scanned_db: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    db = tmp_path / "changed.db"
    shutil.copy(scanned_db, db)
    with sqlite3.connect(db) as connection:
        codec, rows, answers = connection.execute("SELECT codec, rows, answers FROM calls WHERE number = 0").fetchone()
        changed = bytes([answers[0] ^ 1]) + answers[1:]
        crc32 = checksum(codec, rows, changed)
        connection.execute("UPDATE calls SET answers = ?, crc32 = ? WHERE number = 0", (changed, crc32))
    assert main(["replay", str(db), "--json"]) == 5
    out, err = capsys.readouterr()
    assert json.loads(out)["compared"]["different"] == 1
    assert "1 of " in err
    assert err.count("\n") == 1


def test_other_rules_and_budgets(scanned_db: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["replay", str(scanned_db), "--rule", "small_patch=1", "--rule", "anomaly_index", "--at", "900,1500"]
    assert main([*args, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    expected = [(rule, at) for rule in (("small_patch", 1.0), ("anomaly_index", 2.0)) for at in (900, 1500)]
    assert [((row["rule"], row["threshold"]), row["at"]) for row in rows] == expected
    assert main(args) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.strip().splitlines()]
    table, notes = lines[: 2 + len(rows)], [line for line in lines[2 + len(rows) :] if line]
    assert table[0].split() == ["rule", "at", "verdict", "held", "flagged", "score", "spent"]
    assert [line.split()[0] for line in table[2:]] == ["small_patch=1"] * 2 + ["anomaly_index=2"] * 2
    assert [line.split()[3] for line in table[2:]] == ["yes" if row["held"] else "no" for row in rows]
    assert max(map(len, table)) <= 80
    assert len(notes) == sum(bool(row["notes"]) for row in rows)


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (["none.db"], 5, "no ledger"),
        (["DB", "7"], 2, "no run 7"),
        (["DB", "--model", "none.safetensors"], 4, "none.safetensors"),
        (["DB", "--data", "none"], 4, "none"),
        (["DB", "--sample", "0"], 2, "--sample"),
        (["DB", "--preset", "nothing:HERE"], 2, "nothing"),
        (["DB", "--rule", "none"], 2, "no rule 'none'; choose from"),
        (["DB", "--rule", "small_patch=nan"], 2, "THRESHOLD"),
        (["DB", "--restriction", "os:path"], 2, "no restriction"),
        (["DB", "--rule", "small_patch=few"], 2, "THRESHOLD"),
        (["DB", "--at", "1000,x"], 2, "--at"),
        (["DB", "--at", "0"], 2, "at 0"),
        (["DB", "--at", "10", "--sample", "10"], 2, "--sample"),
    ],
)
def test_what_is_wrong_is_one_line(
    args: list[str], code: int, told: str, scanned_db: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", *(str(scanned_db) if arg == "DB" else arg for arg in args)]) == code
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == 1
