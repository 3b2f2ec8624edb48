"""What is beside or instead of a ledger stays untouched; settings are what they should be."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from db import engine
from db.check import check
from db.engine import identify, reading, writer_engine
from db.errors import NewerLedger, NotALedger, StorageBusy, StorageError
from db.ledger import Ledger
from db.records import CallLike, RunInfo
from db.tables import APPLICATION_ID, SCHEMA


def _text(path: Path) -> None:
    path.write_bytes(b"a diary, not a database " * 40)


def _foreign(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("CREATE TABLE songs (name TEXT)")
    connection.close()


def _newer(path: Path) -> None:
    Ledger.open(path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    connection.close()
    path.with_name(f"{path.name}.lock").unlink()


def _truncated(path: Path) -> None:
    Ledger.open(path).close()
    path.write_bytes(path.read_bytes()[:-5000])
    path.with_name(f"{path.name}.lock").unlink()


def _stump(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\x00" + bytes(20))


CASES: list[tuple[Callable[[Path], None], type[StorageError], str]] = [
    (_text, NotALedger, "not an SQLite file"),
    (_foreign, NotALedger, "another program"),
    (_newer, NewerLedger, "newer simkit"),
    (_truncated, StorageError, "truncated"),
    (_stump, StorageError, "truncated"),
]


@pytest.mark.parametrize(("make", "kind", "words"), CASES)
def test_a_file_that_is_no_sound_ledger_is_refused_and_stays_as_it_was(
    path: Path, make: Callable[[Path], None], kind: type[StorageError], words: str
) -> None:
    make(path)
    before = path.read_bytes()
    for attempt in (lambda: Ledger.open(path), lambda: reading(path).__enter__()):
        with pytest.raises(StorageError, match=words) as error:
            attempt()
        assert type(error.value) is kind
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)
    assert words in check(path)[0]
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_place_below_a_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    for place in (tmp_path / "file" / "ledger.db", tmp_path / "file" / "sub" / "ledger.db", tmp_path):
        with pytest.raises(StorageError, match=str(tmp_path)):
            Ledger.open(place)
    assert (tmp_path / "file").read_text() == "kept"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs /proc, a folder that nobody may write")
def test_a_place_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(StorageError, match="folder you may write"):
        Ledger.open(Path("/proc/simkit/ledger.db"))
    with pytest.raises(StorageError, match="no file can be created there"):
        Ledger.open(Path("/proc/ledger.db"))


def test_folders_are_made_and_odd_names_work(tmp_path: Path) -> None:
    path = tmp_path / "a b%20?#" / "100%.db"
    Ledger.open(path).close()
    assert identify(path) == SCHEMA
    assert check(path) == []


def test_an_empty_file_becomes_a_ledger(path: Path) -> None:
    path.touch()
    Ledger.open(path).close()
    assert check(path) == []


def test_a_log_without_its_database_is_refused(path: Path) -> None:
    log = path.with_name(f"{path.name}-wal")
    log.write_bytes(b"somebody's data")
    with pytest.raises(StorageError, match="missing, but"):
        Ledger.open(path)
    assert log.read_bytes() == b"somebody's data"


def test_reading_an_empty_file_says_that_it_is_empty_and_leaves_it_so(path: Path) -> None:
    path.touch()
    with pytest.raises(StorageError, match=r"the file is empty \(0 bytes\)"), reading(path):
        pass
    assert path.read_bytes() == b""


def test_reading_what_is_not_there_creates_nothing(path: Path) -> None:
    with pytest.raises(StorageError, match="no ledger there"), reading(path):
        pass
    assert list(path.parent.iterdir()) == []


def test_the_file_is_stamped_and_the_settings_hold(path: Path) -> None:
    Ledger.open(path).close()
    with writer_engine(path).connect() as connection:

        def pragma(name: str) -> object:
            return connection.exec_driver_sql(f"PRAGMA {name}").scalar()

        actual = {name: pragma(name) for name in ("journal_mode", "synchronous", "foreign_keys", "application_id")}
    assert actual == {"journal_mode": "wal", "synchronous": 1, "foreign_keys": 1, "application_id": APPLICATION_ID}


def test_a_disk_that_cannot_hold_a_log_is_refused(tmp_path: Path) -> None:
    # a database in memory answers "memory" to any journal mode, as a network disk answers "delete"
    with pytest.raises(StorageError, match="local disk"):
        writer_engine(Path(":memory:")).connect()


def test_a_foreign_lock_is_busy_and_nothing_is_lost(
    path: Path, monkeypatch: pytest.MonkeyPatch, make_run: Callable[..., RunInfo], make_call: Callable[..., CallLike]
) -> None:
    monkeypatch.setattr(engine, "BUSY_MS", 20)
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run())
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageBusy, match="3 queries are not stored yet"):
            run.record(make_call())
        with pytest.raises(StorageBusy, match="3 queries are not stored yet"):
            run.flush()
        other.close()
        run.flush()
        assert len(list(run.stored_calls())) == 1
    assert check(path) == []


def test_a_reader_cannot_write(path: Path) -> None:
    Ledger.open(path).close()
    with pytest.raises(StorageError, match="readonly"), reading(path) as connection:
        connection.exec_driver_sql("DELETE FROM meta")
