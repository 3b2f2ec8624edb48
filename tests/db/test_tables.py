"""The schema: migrations lead to the tables of today, and no wrong row can be written."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from db.ledger import Ledger
from db.tables import SCHEMA, VERSION_TABLE, schema

KEY = "0" * 64
RUN = {
    **{"id": 1, "key": KEY, "model": "m", "model_hash": "h", "data": "d", "data_hash": "h", "oracle": "{}"},
    **{"config": "{}", "seed": 1, "budget": 10, "environment": "{}", "state": "open", "at": 0.0},
}
STEP = {"id": 1, "run_id": 1, "number": 0, "purpose": "search", "state": "{}", "at": 0.0}
CALL = {
    **{"run_id": 1, "step_id": 1, "number": 0, "first": 0, "queries": 2, "charged": 2, "codec": "labels/3"},
    **{"rows": "[[0,0,1,null],[1,0,2,null]]", "answers": b"abcd", "crc32": 0, "at": 0.0},
}
REFUSAL = {"run_id": 1, "step_id": 1, "queries": 2, "reason": "budget", "at": 0.0}
TRIGGER = {
    **{"run_id": 1, "target_class": 0, "channels": 2, "height": 1, "width": 2, "mask": bytes(8), "pattern": bytes(16)},
    **{"mask_size": 0.0, "success_rate": 0.5, "successes": 1, "trials": 2, "censored": 0, "family": "patch"},
    **{"parameters": None, "strength": 0.0, "unit": "pixels"},
}
WAVE = TRIGGER | {"family": "wave", "mask": None, "pattern": None, "parameters": '{"waves":[]}'}
VERDICT = {
    **{"run_id": 1, "verdict": "clean", "stopped": "decided", "flagged": "[]", "score": 1.0, "rule": "r"},
    **{"threshold": 1.0, "threshold_source": "s", "spent": 0, "refused": 0, "seconds": 0.0, "clean_accuracy": 0.5},
    **{"cost": 0.25, "api_seconds": 12.5, "notes": "", "at": 0.0},
}
DELIVERY: dict[str, Any] = {"run_id": 1, "call_number": 0, "idempotency": "k", "digest": KEY, "at": 0.0}
FINGERPRINTS: dict[str, Any] = {"run_id": 1, "call_number": 0, "data": bytes(8)}
ASKED = {"run_id": 1, "call_number": 0, "hashes": f'["{KEY}"]'}
PICTURE: dict[str, Any] = {"sha256": KEY, "codec": "uint8/1/1/1", "data": b"x"}
ATTEMPT = {
    **{"run_id": 1, "first": 0, "queries": 2, "idempotency": "k", "attempt": 1, "outcome": "answered"},
    **{"status": 200, "charged": 2, "at": 0.0},
}
ALARM = {"run_id": 1, "detector": "d", "score": 0.5, "first": 0, "queries": 2, "action": "log", "at": 0.0}
GOOD: dict[str, dict[str, Any]] = {
    "runs": RUN,
    "steps": STEP,
    "calls": CALL,
    "refusals": REFUSAL,
    "triggers": TRIGGER,
    "verdicts": VERDICT,
}
GOOD |= {"deliveries": DELIVERY, "fingerprints": FINGERPRINTS, "asked": ASKED, "pictures": PICTURE}
GOOD |= {"attempts": ATTEMPT, "alarms": ALARM}

WRONG: dict[str, list[tuple[str, Any]]] = {
    "runs": [
        *[("key", "0" * 63), ("key", "G" * 64), ("oracle", "{"), ("config", "NaN"), ("environment", "")],
        *[("budget", 0), ("state", "lost"), ("seed", "one"), ("model", None)],
    ],
    "steps": [("number", -1), ("purpose", "play"), ("state", "{'a':1}"), ("run_id", 2)],
    "calls": [
        *[("queries", 0), ("queries", 1), ("charged", -1), ("charged", 3), ("codec", ""), ("rows", "[[0,0,1,null]]")],
        *[("rows", "[[0,0,1,null],"), ("answers", b"abc"), ("answers", b""), ("answers", "text"), ("number", -1)],
        *[("first", -1), ("run_id", 2), ("step_id", 2), ("crc32", 0.5)],
    ],
    "refusals": [("queries", 0), ("reason", ""), ("step_id", 2), ("run_id", 2)],
    "triggers": [
        *[("target_class", -1), ("height", 0), ("mask", bytes(4)), ("pattern", bytes(8)), ("mask_size", -1.0)],
        *[("mask_size", None), ("success_rate", 1.01), ("success_rate", -0.1), ("successes", 3), ("successes", -1)],
        *[("censored", 2), ("run_id", 2), ("mask", None), ("pattern", None), ("parameters", "{}"), ("family", "wave")],
        *[("family", None), ("family", ""), ("strength", None), ("strength", -1.0), ("unit", ""), ("unit", None)],
    ],
    "verdicts": [
        *[("verdict", "guilty"), ("stopped", "tired"), ("flagged", "{}"), ("flagged", "[1"), ("spent", -1)],
        *[("refused", -1), ("seconds", -0.1), ("clean_accuracy", 1.5), ("run_id", 2), ("rule", None)],
        *[("cost", -0.01), ("cost", "free"), ("api_seconds", -1.0)],
    ],
    "deliveries": [
        *[("call_number", 1), ("run_id", 2), ("idempotency", ""), ("idempotency", None), ("digest", "0" * 63)],
        ("digest", "G" * 64),
    ],
    "fingerprints": [("call_number", 1), ("run_id", 2), ("data", b""), ("data", bytes(7)), ("data", "text")],
    "asked": [("call_number", 1), ("run_id", 2), ("hashes", "[1"), ("hashes", "{}")],
    "pictures": [("sha256", "0" * 63), ("sha256", "G" * 64), ("codec", ""), ("data", b""), ("data", "text")],
    "attempts": [
        *[("run_id", 2), ("first", -1), ("queries", 0), ("idempotency", ""), ("attempt", 0), ("outcome", "eaten")],
        *[("outcome", "sent"), ("status", 99), ("charged", -1)],
    ],
    "alarms": [
        *[("run_id", 2), ("detector", ""), ("score", None), ("first", -1), ("queries", 0), ("action", "")],
    ],
}


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tables") / "ledger.db"
    Ledger.open(path).close()
    return path


@pytest.fixture
def raw(empty: Path) -> Iterator[sqlite3.Connection]:
    """A connection to an empty ledger, as any program would open it; what a test writes is undone."""
    connection = sqlite3.connect(empty, isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("BEGIN")
    yield connection
    connection.close()


def insert(connection: sqlite3.Connection, table: str, row: dict[str, Any]) -> None:
    marks = ", ".join("?" * len(row))
    connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))


def fill(connection: sqlite3.Connection, until: str) -> None:
    """A good row in every table before `until`, in the order of GOOD."""
    for table, row in GOOD.items():
        if table == until:
            return
        insert(connection, table, row)


def test_every_column_can_be_right(raw: sqlite3.Connection) -> None:
    fill(raw, "")
    assert raw.execute("SELECT count(*) FROM queries").fetchone() == (2,)


@pytest.mark.parametrize(
    ("table", "column", "value"), [(table, *wrong) for table, wrongs in WRONG.items() for wrong in wrongs]
)
def test_a_wrong_row_cannot_be_written(raw: sqlite3.Connection, table: str, column: str, value: Any) -> None:
    fill(raw, table)
    with pytest.raises((sqlite3.IntegrityError, sqlite3.OperationalError)):
        insert(raw, table, {**GOOD[table], column: value})
    assert raw.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"parameters": None}, {"parameters": "{"}, {"parameters": "[]"}, {"mask": bytes(8)}, {"pattern": bytes(16)}),
        {"family": "patch"},
    ],
)
def test_a_trigger_of_another_family_has_parameters_alone(raw: sqlite3.Connection, wrong: dict[str, Any]) -> None:
    fill(raw, "triggers")
    with pytest.raises((sqlite3.IntegrityError, sqlite3.OperationalError)):
        insert(raw, "triggers", WAVE | wrong)
    insert(raw, "triggers", WAVE)


@pytest.mark.parametrize("table", [name for name in GOOD if name not in ("refusals", "alarms")])
def test_a_row_that_is_there_once_cannot_be_there_twice(raw: sqlite3.Connection, table: str) -> None:
    fill(raw, "")
    twin = {name: value for name, value in GOOD[table].items() if name != "id"}
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        insert(raw, table, twin)


def test_a_call_cannot_name_a_step_of_another_run(raw: sqlite3.Connection) -> None:
    fill(raw, "calls")
    insert(raw, "runs", {**RUN, "id": 2, "key": "1" * 64})
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        insert(raw, "calls", {**CALL, "run_id": 2})


def test_the_migrations_lead_to_the_tables_of_today(raw: sqlite3.Connection) -> None:
    rows = raw.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    made = {name: " ".join(sql.split()) for name, sql in rows if name != VERSION_TABLE}
    assert made == schema()
    assert raw.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchall() == [(f"{SCHEMA:04d}",)]


def test_the_tables_of_today_are_sql_that_runs() -> None:
    connection = sqlite3.connect(":memory:")
    for sql in schema().values():
        connection.execute(sql)
    assert connection.execute("SELECT count(*) FROM pragma_table_list WHERE strict").fetchone() == (13,)
    connection.close()
