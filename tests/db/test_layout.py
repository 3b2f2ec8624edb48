"""A ledger from a stranger cannot act: triggers, changed views and the like are refused before a row is touched."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from db import reads
from db.check import check
from db.engine import reading
from db.errors import StorageError
from db.ledger import Ledger
from db.merge import merge
from db.migrations import schema_of
from db.tables import SCHEMA, schema
from tests.db.conftest import MakeCall, MakeRun

SAVED = Path(__file__).parent / "schemas"


def change(path: Path, sql: str) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(sql)
    connection.close()


@pytest.fixture
def stored(path: Path, make_run: MakeRun, make_call: MakeCall) -> Path:
    with Ledger.open(path) as ledger:
        ledger.begin(make_run()).record(make_call())
    return path


HOSTILE = {
    "trigger on insert": (
        "CREATE TRIGGER t AFTER INSERT ON calls BEGIN UPDATE runs SET budget = 1; END",
        "the trigger 't' is not of simkit",
    ),
    "trigger that refuses": (
        "CREATE TRIGGER t BEFORE INSERT ON steps BEGIN SELECT raise(ABORT, 'no'); END",
        "the trigger 't' is not of simkit",
    ),
    "trigger on a view": (
        "CREATE TRIGGER t INSTEAD OF INSERT ON queries BEGIN DELETE FROM calls; END",
        "the trigger 't' is not of simkit",
    ),
    "escape sequence in a name": (
        'CREATE TRIGGER "\x1b[2J" AFTER INSERT ON calls BEGIN DELETE FROM calls; END',
        r"the trigger '\x1b[2J' is not of simkit",
    ),
    "view redefined": ("DROP VIEW queries; CREATE VIEW queries AS SELECT 1 AS run", "queries differs from the schema"),
    "view added": (
        "CREATE VIEW v AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n",
        "the view 'v' is not of simkit",
    ),
    "view in place of a table": (
        "ALTER TABLE meta RENAME TO kept; CREATE VIEW meta AS SELECT * FROM kept",
        "meta differs from the schema",
    ),
    "index on an expression": (
        "CREATE INDEX i ON calls (zeroblob(1000000))",
        "the index 'i' is not of simkit",
    ),
    "unique index": ("CREATE UNIQUE INDEX i ON calls (run_id)", "the index 'i' is not of simkit"),
    "virtual table": ("CREATE VIRTUAL TABLE f USING fts5(x)", "the virtual table 'f' is not of simkit"),
    "generated column": (
        "ALTER TABLE runs ADD COLUMN more INTEGER AS (abs(budget)) VIRTUAL",
        "runs differs from the schema",
    ),
    "trigger named a table": (
        "CREATE TRIGGER t AFTER INSERT ON calls BEGIN DELETE FROM calls; END; PRAGMA writable_schema = 1;"
        " UPDATE sqlite_master SET type = 'table', rootpage = 2 WHERE name = 't'",
        "malformed database schema",  # SQLite sees it first
    ),
    "table dropped": ("DROP TABLE refusals", "refusals is missing"),
}


@pytest.mark.parametrize(("sql", "words"), HOSTILE.values(), ids=HOSTILE)
def test_a_changed_ledger_is_refused_by_writers_and_readers(stored: Path, tmp_path: Path, sql: str, words: str) -> None:
    change(stored, sql)
    before = stored.read_bytes()
    for use in (Ledger.open, reads.runs, lambda path: merge(tmp_path / "into.db", [path])):
        with pytest.raises(StorageError) as raised:
            use(stored)
        assert words in str(raised.value)
        assert str(raised.value).isprintable()
    assert words in check(stored)[0]
    assert stored.read_bytes() == before


def test_tables_of_the_user_and_statistics_stay_allowed(stored: Path, make_run: MakeRun, make_call: MakeCall) -> None:
    """Nothing here reads or writes them; `ANALYZE` leaves a table as well."""
    change(stored, "CREATE TABLE notes (run INTEGER REFERENCES runs (id), text TEXT); ANALYZE")
    assert check(stored) == []
    with Ledger.open(stored) as ledger:
        ledger.begin(make_run()).record(make_call(seed=1))
    assert reads.runs(stored)["spent"].tolist() == [6]


@pytest.mark.parametrize("version", range(1, SCHEMA))
def test_an_older_ledger_is_compared_with_the_schema_of_its_version(path: Path, version: int) -> None:
    shutil.copy(SAVED / f"v{version}.db", path)
    with reading(path):
        pass
    change(path, "CREATE TRIGGER t AFTER UPDATE ON runs BEGIN DELETE FROM calls; END")
    before = path.read_bytes()
    for use in (Ledger.open, reads.runs):
        with pytest.raises(StorageError, match="the trigger 't' is not of simkit"):
            use(path)
    assert path.read_bytes() == before
    change(path, "DROP TRIGGER t")
    Ledger.open(path).close()
    assert check(path) == []


def test_a_version_that_no_simkit_wrote_is_refused(stored: Path) -> None:
    change(stored, "PRAGMA user_version = 0")
    for use in (Ledger.open, reads.runs):
        with pytest.raises(StorageError, match="schema 0 is none that simkit wrote"):
            use(stored)
    assert check(stored) != []


def test_the_migrations_end_at_the_schema() -> None:
    assert schema_of(SCHEMA) == schema()
