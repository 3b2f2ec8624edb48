"""A ledger of every schema that was ever on main is upgraded whole or not at all, and loses nothing."""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

import db
from db import reads
from db.check import check
from db.engine import identify, reading
from db.errors import StorageError
from db.ledger import Ledger
from db.migrations import upgrade
from db.records import RunInfo
from db.survey import survey
from db.tables import SCHEMA
from tests.db.conftest import MakeCall, MakeVerdict

SAVED = Path(__file__).parent / "schemas"
OLD = range(1, SCHEMA)
ROWS = ("meta", "runs", "steps", "calls", "refusals", "triggers", "verdicts", "queries", "spend")


@pytest.fixture(params=OLD, ids=lambda version: f"v{version}")
def old(request: pytest.FixtureRequest, path: Path) -> Path:
    shutil.copy(SAVED / f"v{request.param}.db", path)
    return path


def rows_of(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table and view by column, as sqlite3 alone reads them."""
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
    connection.row_factory = sqlite3.Row
    actual = {name: [dict(row) for row in connection.execute(f"SELECT * FROM {name}")] for name in ROWS}
    connection.close()
    return actual


def test_there_is_a_saved_file_of_every_older_schema() -> None:
    assert {path.name for path in SAVED.glob("*.db")} == {f"v{version}.db" for version in OLD}
    assert [identify(SAVED / f"v{version}.db") for version in OLD] == list(OLD)


def test_opening_for_writing_upgrades_and_keeps_every_row(old: Path) -> None:
    before = rows_of(old)
    assert all(before[name] for name in ROWS), "a file that tries nothing"
    Ledger.open(old).close()
    after = rows_of(old)
    assert identify(old) == SCHEMA
    assert check(old) == []
    for row in before["verdicts"] + before["triggers"]:
        row.pop("seal", None)  # covers columns that the row did not have; `check` has verified the new one
    for name in ROWS:
        kept = [{column: row[column] for column in first} for first, row in zip(before[name], after[name], strict=True)]
        assert kept == before[name]


def test_what_was_not_asked_then_is_unknown_now(old: Path) -> None:
    Ledger.open(old).close()
    verdicts = reads.verdicts(old)
    assert verdicts["verdict"].tolist().count("backdoored") == 1
    assert verdicts[["cost", "api_seconds", "rule_limit", "ruled_out"]].isna().all(axis=None)
    triggers = reads.sql(old, "SELECT * FROM triggers")
    assert (triggers["family"] == "patch").all()
    assert (triggers["unit"] == "pixels").all()
    assert triggers["strength"].tolist() == triggers["mask_size"].tolist()
    assert triggers["parameters"].isna().all()


@pytest.mark.parametrize(
    ("version", "table", "damage"), [(4, "verdicts", "score = 0.25"), (5, "triggers", "trials = trials + 1")]
)
def test_an_upgrade_does_not_seal_a_damaged_row_as_whole(path: Path, version: int, table: str, damage: str) -> None:
    shutil.copy(SAVED / f"v{version}.db", path)
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute(f"UPDATE {table} SET {damage} WHERE run_id = 2")
    raw.close()
    Ledger.open(path).close()
    assert any(f"{table}: row" in found for found in check(path))


def test_an_old_file_is_read_as_it_is(old: Path) -> None:
    before, rows = old.read_bytes(), rows_of(old)
    with db.open(old) as ledger:
        assert ledger.runs()["key"].tolist() == [row["key"] for row in rows["runs"]]
        verdicts = ledger.verdicts()
        assert verdicts["score"].tolist() == [row["score"] for row in rows["verdicts"]]
        assert verdicts[["cost", "api_seconds"]].isna().all(axis=None)
        for run in ledger.runs()["run"]:
            assert len(ledger.queries(run)) == sum(row["run"] == run for row in rows["queries"])
            assert len(ledger.steps(run)) == len(ledger.curve(run)) > 0
            stored = reads.result(old, run)
            assert stored is None or stored.cost is None
            (surveyed,) = survey(old, [run])
            assert surveyed.verdict == stored
            stored_triggers = ledger.triggers(run)
            assert len(stored_triggers) == sum(row["run_id"] == run for row in rows["triggers"])
            assert all((t.family, t.unit, t.strength) == ("patch", "pixels", t.mask_size) for t in stored_triggers)
            assert [t.target_class for t in surveyed.triggers] == [t.target_class for t in stored_triggers]
    assert old.read_bytes() == before


def test_checking_an_old_file_changes_nothing_and_says_what_to_do(old: Path) -> None:
    before = old.read_bytes()
    with pytest.raises(StorageError, match=r"schema \d is older than .*; run: simkit db upgrade"), reading(old, False):
        pass
    assert "simkit db upgrade" in check(old)[0]
    assert old.read_bytes() == before
    assert [p.name for p in old.parent.iterdir()] == [old.name]


def test_a_failed_upgrade_leaves_the_file_as_it_was(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = old.read_bytes()

    def half(connection: Any) -> None:
        upgrade(connection)
        connection.exec_driver_sql("SELECT nothing_of_the_kind")

    monkeypatch.setattr("db.prepare.upgrade", half)
    with pytest.raises(StorageError, match="nothing_of_the_kind"):
        Ledger.open(old)
    assert old.read_bytes() == before
    assert {p.name for p in old.parent.iterdir()} <= {old.name, f"{old.name}.lock"}
    monkeypatch.undo()
    Ledger.open(old).close()
    assert check(old) == []


def test_an_open_run_goes_on_after_the_upgrade(old: Path, make_call: MakeCall, make_verdict: MakeVerdict) -> None:
    (row,) = [row for row in rows_of(old)["runs"] if row["state"] == "open"]
    info = RunInfo(**{field.name: row[field.name] for field in fields(RunInfo)})
    with Ledger.open(old) as ledger:
        run = ledger.begin(info)
        assert (run.spent, run.refused, len(list(run.stored_calls()))) == (11, 9, 3)
        run.record(make_call(run.open_step(2, "search", "{}"), queries=4))
        verdict = make_verdict(15, 9, "undecided", "refused")
        run.finish(replace(verdict, cost=0.015, api_seconds=1.5), [])
        assert run.result() == replace(verdict, cost=0.015, api_seconds=1.5)
    assert check(old) == []
