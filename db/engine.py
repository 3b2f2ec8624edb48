"""How a ledger's file is recognised and opened: settings with their reasons, writing and reading."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool

from db.errors import NewerLedger, NotALedger, StorageError, translated
from db.held import apart, connect
from db.log import check_log
from db.tables import APPLICATION_ID, SCHEMA

_MAGIC = b"SQLite format 3\x00"
_HEADER_BYTES = 100
BUSY_MS = 30_000
"""How long to wait for another program's lock, in milliseconds, before StorageBusy."""

WRITER_PRAGMAS = (
    "PRAGMA synchronous = NORMAL",  # a commit survives a kill without waiting for the disk; `Writer` waits by its clock
    "PRAGMA foreign_keys = ON",  # off by default in SQLite
    "PRAGMA journal_size_limit = 67108864",  # give the disk back after a long reader made the log grow
    "PRAGMA cache_size = -16384",  # 16 MiB: a ledger is appended to, few pages are visited twice
)  # no mmap_size: a failing disk would kill the process; no trusted_schema = OFF: older SQLite then refuses json_valid

READER_PRAGMAS = (
    "PRAGMA query_only = ON",  # a second guard behind mode=ro
    "PRAGMA wal_autocheckpoint = 0",  # only the writer checkpoints
)


def identify(path: Path) -> int | None:
    """The schema version of the ledger at `path`, or None where there is no file yet or an empty one.

    Reads the first 100 bytes only: whatever else the file is, it stays as it was and nothing appears beside it.
    Raises NotALedger for other files, NewerLedger; StorageError for a truncated one, a folder, a log without database.
    """
    with translated(path):
        if path.exists() and not path.is_file():
            raise StorageError(f"{path}: a folder or a device; name a file")
        if not path.exists() or path.stat().st_size == 0:
            _refuse_orphan_log(path)
            return None
        with apart(path) as free:
            if free:
                with path.open("rb") as file:
                    return _version(path, file.read(_HEADER_BYTES))
        return _version_of_open(path)


def _version_of_open(path: Path) -> int:
    """Of a ledger that a connection of this process has open, and has recognised."""
    connection = connect(path, f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=BUSY_MS / 1000)
    try:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])
    finally:
        connection.close()


def _version(path: Path, header: bytes) -> int:
    if not header.startswith(_MAGIC[: len(header)]):
        raise NotALedger(f"{path}: not an SQLite file; name another file")
    if len(header) < _HEADER_BYTES or _is_short(path, header):
        raise StorageError(f"{path}: the file is truncated; restore it from a copy")
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise NotALedger(f"{path}: a database of another program; name another file")
    version = int.from_bytes(header[60:64], "big")
    if version > SCHEMA:
        raise NewerLedger(f"{path}: written by a newer simkit (schema {version}, this one knows {SCHEMA}); upgrade")
    return version


def _is_short(path: Path, header: bytes) -> bool:
    """Whether pages are missing at the end. With a log beside it the file may lag behind its header: not judged."""
    if _size(path, "-wal") > 0 or header[24:28] != header[92:96]:
        return False
    page = int.from_bytes(header[16:18], "big")
    return path.stat().st_size < int.from_bytes(header[28:32], "big") * (65536 if page == 1 else page)


def _refuse_orphan_log(path: Path) -> None:
    # SQLite would play a log that belongs to a lost database into the new one
    for suffix in ("-wal", "-journal"):
        if _size(path, suffix) > 0:
            raise StorageError(f"{path}: missing, but {path.name}{suffix} is there; restore the one or move the other")


def _size(path: Path, suffix: str) -> int:
    beside = path.with_name(path.name + suffix)
    return beside.stat().st_size if beside.exists() else 0


def writer_engine(path: Path, journal: str = "wal") -> Engine:
    """An engine whose connections may write `path`; transactions are immediate. Raises as `translated` says."""

    def connected() -> sqlite3.Connection:
        # autocommit mode: SQLAlchemy's begin event below opens the transactions; the ledger's lock orders the threads
        connection = connect(path, path, isolation_level=None, check_same_thread=False)
        connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")  # first, since changing the journal takes a lock
        (found,) = connection.execute(f"PRAGMA journal_mode = {journal}").fetchone()
        if found != journal:  # no shared memory: a network disk, where two machines would write past each other
            connection.close()
            raise StorageError(f"{path}: this disk cannot hold a write-ahead log; put the ledger on a local disk")
        for pragma in WRITER_PRAGMAS:
            connection.execute(pragma)
        return connection

    # IMMEDIATE: a transaction that reads and then writes would get SQLITE_BUSY at once, whatever busy_timeout says
    return _engine(connected, "BEGIN IMMEDIATE")


def reader_engine(path: Path) -> Engine:
    """An engine that cannot write `path`, hold up its writer, or checkpoint; a transaction is one snapshot."""

    def connected() -> sqlite3.Connection:
        uri = f"{path.resolve().as_uri()}?mode=ro{'&immutable=1' if _is_at_rest(path) else ''}"
        connection = connect(path, uri, uri=True, isolation_level=None, timeout=BUSY_MS / 1000)
        for pragma in READER_PRAGMAS:
            connection.execute(pragma)
        return connection

    return _engine(connected, "BEGIN")


def _is_at_rest(path: Path) -> bool:
    """Whether all of the ledger is in one file of a folder where SQLite could make no shared memory beside it.

    Where log and shared memory are there already a writer may have them open, and SQLite reads by them.
    """
    file = path.resolve()
    shared = all(file.with_name(file.name + suffix).exists() for suffix in ("-wal", "-shm"))
    return _size(file, "-wal") == 0 and not shared and not os.access(file.parent, os.W_OK)


@contextmanager
def reading(path: Path, older: bool = True) -> Iterator[Connection]:
    """A connection inside one read-only snapshot of the ledger at `path`.

    older: whether a file of an older schema will do, which is read as it is; see `columns_of`. Raises NotALedger,
    StorageError where there is no ledger, and StorageError for whatever the body's SQL raises, or for values of another
    type than their column's.
    """
    version = identify(path)
    if version is None:
        raise StorageError(f"{path}: no ledger there; check the path")
    check_log(path)
    if version < SCHEMA and not older:
        raise StorageError(f"{path}: schema {version} is older than {SCHEMA}; run: simkit db upgrade '{path}'")
    try:
        with translated(path), reader_engine(path).begin() as connection:
            yield connection
    except (TypeError, ArithmeticError) as error:  # a damaged page may hold any type in any column
        raise StorageError(f"{path}: the file is damaged, it cannot be read further ({error})") from error


def columns_of(connection: Connection, table: str) -> list[str]:
    """The columns that `table` has in this file: one of an older schema lacks the newest."""
    return [row[1] for row in connection.exec_driver_sql(f"PRAGMA table_info({table})")]


def selected(connection: Connection, table: str, wanted: str) -> str:
    """The list of columns `wanted` for a SELECT from `table`, with NULL for each that this file does not have yet."""
    present = set(columns_of(connection, table))
    return ", ".join(name if name in present else f"NULL AS {name}" for name in wanted.split(", "))


def _engine(connect: object, begin: str) -> Engine:
    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)

    @event.listens_for(engine, "begin")
    def _(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine
