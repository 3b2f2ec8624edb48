"""`simkit db` over a small ledger with one finished and one open run."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from db.ledger import Ledger
from db.records import RunInfo, TriggerRow, VerdictRow
from db.service_records import Alarm
from db.tables import SCHEMA
from oracles import spec as oracle_specs
from oracles.meter import CallRecord, unknown_rows
from studies.cli.main import main


def run_info(name: str, budget: int | None) -> RunInfo:
    key = hashlib.sha256(name.encode()).hexdigest()
    return RunInfo(key, name, "m" * 64, "digits", "d" * 64, "{}", "{}", 7, budget, "{}")


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.db"
    call = CallRecord(None, unknown_rows(3), np.zeros(3, np.int32), None, "labels/10", bytes(6))
    with Ledger.open(path) as opened:
        done, open_run = opened.begin(run_info("[first]", 50)), opened.begin(run_info("second", None))
        done.record(call)
        open_run.record(call)
        open_run.record(call)
        blank = np.zeros((1, 2, 2), np.float32)
        verdict = VerdictRow(
            "backdoored", "decided", (2, 5), 3.5, "anomaly", 2.0, "given", 3, 0, 0.25, None, "", 0.003, 1.5
        )
        done.finish(verdict, [TriggerRow(c, blank, blank, 0.0, None, 0, 0, False) for c in verdict.flagged])
    return path


def test_a_sound_ledger_is_sound(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["db", "check", str(ledger)]) == 0
    assert capsys.readouterr().out == f"{ledger}: sound\n"


def test_every_mismatch_is_a_line(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with sqlite3.connect(ledger) as connection:
        connection.execute("UPDATE verdicts SET spent = 2")
        connection.execute("UPDATE calls SET crc32 = crc32 + 1 WHERE run_id = 2 AND number = 0")
    connection.close()
    assert main(["db", "check", str(ledger)]) == 5
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 4  # two rows of the wrong checksum, and what each of them says wrong
    assert "checksum" in out
    assert "4 mismatches" in err
    assert main(["db", "check", str(ledger), "--json"]) == 5
    assert json.loads(capsys.readouterr().out) == {"file": str(ledger), "mismatches": out.splitlines()}


@pytest.mark.parametrize("command", ["check", "runs"])
def test_a_missing_file_is_one_line_and_not_made(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "nothing.db"
    assert main(["db", command, str(path)]) == 5
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"simkit: error: {path}: no ledger there; check the path\n")
    assert not path.exists()


def test_export_tells_what_it_wrote(ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "tables"
    assert main(["db", "export", str(ledger), "--parquet", str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder}: 9 queries of 2 runs, 9 charged\n"
    assert len(pd.read_parquet(folder / "queries")) == 9
    assert main(["db", "export", str(ledger), "--parquet", str(folder)]) == 5
    assert "not empty" in capsys.readouterr().err


def test_merge_takes_what_is_finished(ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    into = tmp_path / "all.db"
    assert main(["db", "merge", str(into), str(ledger), "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert (first["source"], first["run"], first["outcome"], first["into"]) == (str(ledger), 1, "added", 1)
    assert (second["run"], second["outcome"], second["into"]) == (2, "open", None)
    assert main(["db", "merge", str(into), str(ledger)]) == 0
    assert "kept" in capsys.readouterr().out
    assert main(["db", "merge", str(into), str(into)]) == 5
    assert "the same file" in capsys.readouterr().err


def test_a_file_of_another_kind_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a ledger\n" * 20)
    assert main(["db", "runs", str(path)]) == 5
    assert "not an SQLite file" in capsys.readouterr().err


def test_runs_as_json(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["db", "runs", str(ledger), "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert first == {
        "run": 1,
        "model": "[first]",
        "api_key": None,
        "data": "digits",
        "preset": None,
        "oracle": "scores",
        "seed": 7,
        "state": "done",
        "verdict": "backdoored",
        "stopped": "decided",
        "score": 3.5,
        "probability": None,
        "flagged": [2, 5],
        "spent": 3,
        "budget": 50,
        "seconds": 0.25,
        "api_seconds": 1.5,
        "cost": 0.003,
        "currency": None,
        "alarms": None,
        "first_alarm": None,
        "threads": None,
        "versions": "",
    }
    assert (second["state"], second["spent"], second["budget"]) == ("open", 6, None)
    assert second["verdict"] is second["flagged"] is second["score"] is None


def test_runs_as_a_table(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["db", "runs", str(ledger)]) == 0
    head, _, first, second = (line.rstrip() for line in capsys.readouterr().out.splitlines() if line.strip())
    assert head.split() == ["run", "model", "preset", "oracle", "verdict", "flagged", "spent", "api_seconds"]
    assert first.split() == ["1", "[first]", "-", "scores", "backdoored", "2", "5", "3", "1.5"]
    assert second.split() == ["2", "second", "-", "scores", "open", "-", "6", "-"]


def test_the_cost_of_runs_is_shown_with_its_currency_or_not_at_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, priced = tmp_path / "ledger.db", {"price_per_thousand": 4.0}
    row = VerdictRow("clean", "decided", (), 0.5, "anomaly", 2.0, "given", 0, 0, 0.25, None, "", 12.4, None)
    with Ledger.open(path) as opened:
        for number, oracle in enumerate((priced, priced | {"currency": "USD"})):
            info = replace(run_info("m.pt", 50), key=str(number) * 64, oracle=json.dumps(oracle))
            opened.begin(info).finish(row, [])
    assert main(["db", "runs", str(path)]) == 0
    head, _, *shown = (line.rstrip() for line in capsys.readouterr().out.splitlines() if line.strip())
    assert head.split()[-1] == "cost"
    assert [("12.40 USD" in line, "12.4" in line) for line in shown] == [(False, False), (True, True)]
    assert main(["db", "runs", str(path), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["cost"], row["currency"]) for row in rows] == [(12.4, None), (12.4, "USD")]


def test_runs_that_look_alike_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, first = tmp_path / "ledger.db", run_info("model.pt", 50)
    with Ledger.open(path) as opened:
        for number, environment in enumerate(({"threads": 1, "torch": "2.0"}, {"threads": 8, "torch": "2.1"})):
            opened.begin(replace(first, key=str(number) * 64, environment=json.dumps(environment)))
    assert main(["db", "runs", str(path)]) == 0
    shown = capsys.readouterr().out
    assert shown.split()[7:9] == ["threads", "versions"]
    for word in ("torch 2.0", "torch 2.1", "1", "8"):
        assert word in shown
    assert "budget" not in shown


def test_runs_fit_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "ledger.db"
    with Ledger.open(path) as opened:
        config = json.dumps({"preset": "random-patch"})
        opened.begin(replace(run_info("/a/folder/far/away/model.pt2", 150_000), config=config))
    assert main(["db", "runs", str(path)]) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[-2 if not lines[-1] else -1].split()[1:3] == ["model.pt2", "random-patch"]
    assert max(map(len, lines)) <= 80


def test_services_are_named_as_in_reports_and_large_numbers_are_separated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, services = tmp_path / "ledger.db", ("label", "top3", "noisy", "scores")
    with Ledger.open(path) as opened:
        for name in services:
            spec = json.dumps(oracle_specs.load(name).model_dump(mode="json"))
            opened.begin(replace(run_info(name, 10_000), oracle=spec))
        many = CallRecord(None, unknown_rows(1200), np.zeros(1200, np.int32), None, "labels/10", bytes(2400))
        opened.begin(replace(run_info("other", 10_000), oracle='{"top_k": 5, "decimals": 2}')).record(many)
    assert main(["db", "runs", str(path), "--json"]) == 0
    named = [row["oracle"] for row in json.loads(capsys.readouterr().out)]
    assert named == [*services, "top_k 5, decimals 2"]
    assert main(["db", "runs", str(path)]) == 0
    assert "1,200" in capsys.readouterr().out


def test_an_empty_ledger_lists_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "ledger.db"
    with Ledger.open(path):
        pass
    assert main(["db", "runs", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_upgrade_brings_an_old_ledger_to_today(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = tmp_path / "old.db"
    shutil.copy(Path(__file__).parents[2] / "db" / "schemas" / "v1.db", old)
    assert main(["db", "check", str(old)]) == 5
    assert "simkit db upgrade" in capsys.readouterr().err
    assert main(["db", "upgrade", str(old)]) == 0
    assert capsys.readouterr().out == f"{old}: schema 1 to {SCHEMA}\n"
    assert main(["db", "check", str(old)]) == 0


def test_upgrade_makes_no_ledger(tmp_path: Path) -> None:
    assert main(["db", "upgrade", str(tmp_path / "gone.db")]) == 5
    assert list(tmp_path.iterdir()) == []


def test_runs_with_alarms_show_their_number_and_the_first(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Ledger.open(ledger) as opened:
        run = opened.begin(run_info("second", None))
        run.alarm(Alarm("piha", 1.0, 4, 1, "log"), Alarm("piha", 1.0, 2, 1, "log"))
    assert main(["db", "runs", str(ledger), "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert (first["alarms"], first["first_alarm"]) == (None, None)
    assert (second["alarms"], second["first_alarm"]) == (2, 2)
    assert main(["db", "runs", str(ledger)]) == 0
    assert "first_alarm" in capsys.readouterr().out


def test_a_run_of_a_service_shows_its_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, config = tmp_path / "provider.db", json.dumps({"service": {"key": "lab23456", "model": "m"}, "oracle": {}})
    with Ledger.open(path) as opened:
        opened.begin(replace(run_info("m", None), config=config))
        opened.begin(run_info("own", 5))
    assert main(["db", "runs", str(path), "--json"]) == 0
    assert [row["api_key"] for row in json.loads(capsys.readouterr().out)] == ["lab23456", None]
    assert main(["db", "runs", str(path)]) == 0
    assert "lab23456" in capsys.readouterr().out
