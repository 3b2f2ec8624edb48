"""Recognises and opens the file of a ledger, for writing and reading, with the reason of each SQLite setting."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, ExceptionContext, create_engine, event
from sqlalchemy.pool import NullPool

from db.errors import NewerLedger, NotALedger, StorageError, translated
from db.held import apart, connect
from db.layout import refuse_changes
from db.log import check_log
from db.tables import APPLICATION_ID, SCHEMA

_MAGIC = b"SQLite format 3\x00"
_HEADER_BYTES = 100
BUSY_MS = 30_000
"""How long to wait for another program's lock, in milliseconds, before StorageBusy."""

WRITER_PRAGMAS = (
    "PRAGMA synchronous = NORMAL",  # a commit survives a kill without an fsync; `Writer` syncs at intervals
    "PRAGMA foreign_keys = ON",  # off by default in SQLite
    "PRAGMA journal_size_limit = 67108864",  # shrink the log after a long read made it grow
    "PRAGMA cache_size = -16384",  # 16 MiB are enough: a ledger is appended to, and few pages are read twice
)
# No mmap_size: with it a failing disk would kill the process.
# No trusted_schema = OFF: with it older SQLite versions refuse json_valid.

READER_PRAGMAS = (
    "PRAGMA query_only = ON",  # a second guard behind mode=ro
    "PRAGMA wal_autocheckpoint = 0",  # only the writer checkpoints
)


def identify(path: Path) -> int | None:
    """The schema version of the ledger at `path`, or None if the file does not exist or is empty.

    Reads the first 100 bytes only, so that a file of any kind stays unchanged and no file appears beside it. Raises
    NotALedger for other files, NewerLedger for a newer schema, and StorageError for a truncated file, a folder, a
    log without its database, or a pipe or folder by the name of a log, which SQLite would wait for.
    """
    with translated(path):
        _refuse_odd_files(path)
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
    """The schema version of a ledger that this process has open already."""
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
    """Whether pages are missing at the end. False if there is a log, since the file may then be shorter than its header
    says."""
    if _size(path, "-wal") > 0 or header[24:28] != header[92:96]:
        return False
    page = int.from_bytes(header[16:18], "big")
    return path.stat().st_size < int.from_bytes(header[28:32], "big") * (65536 if page == 1 else page)


def _refuse_odd_files(path: Path) -> None:
    file = Path(os.path.realpath(path))
    if file.is_symlink():
        raise StorageError(f"{path}: is a link that leads to itself; name another file")
    for beside in (file.with_name(file.name + suffix) for suffix in ("-wal", "-shm", "-journal")):
        if beside.exists() and not beside.is_file():
            raise StorageError(f"{beside}: is no regular file, and SQLite needs this name; move it away")


def _refuse_orphan_log(path: Path) -> None:
    # SQLite would replay a log that belongs to a lost database into the new one
    for suffix in ("-wal", "-journal"):
        if _size(path, suffix) > 0:
            raise StorageError(
                f"{path}: missing, but {path.name}{suffix} is there; restore the first or move the second"
            )


def _size(path: Path, suffix: str) -> int:
    beside = path.with_name(path.name + suffix)
    return beside.stat().st_size if beside.exists() else 0


def writer_engine(path: Path, journal: str = "wal") -> Engine:
    """An engine whose connections may write `path`; transactions are immediate. Raises the errors of `translated`."""

    def connected() -> sqlite3.Connection:
        # autocommit mode, since the begin event below opens transactions; the ledger's lock serialises the threads
        connection = connect(path, path, isolation_level=None, check_same_thread=False)
        connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")  # first, since changing the journal takes a lock
        (mode,) = connection.execute(f"PRAGMA journal_mode = {journal}").fetchone()
        if mode != journal:  # no shared memory, as on a network disk, where two machines could write at once
            connection.close()
            raise StorageError(f"{path}: this disk cannot hold a write-ahead log; put the ledger on a local disk")
        for pragma in WRITER_PRAGMAS:
            connection.execute(pragma)
        return connection

    # IMMEDIATE, because a transaction that reads first and then writes gets SQLITE_BUSY at once despite busy_timeout
    return _engine(connected, "BEGIN IMMEDIATE")


def reader_engine(path: Path) -> Engine:
    """An engine that cannot write `path`, block its writer or checkpoint. A transaction is one snapshot."""

    def connected() -> sqlite3.Connection:
        uri = f"{path.resolve().as_uri()}?mode=ro{'&immutable=1' if _is_at_rest(path) else ''}"
        connection = connect(path, uri, uri=True, isolation_level=None, timeout=BUSY_MS / 1000)
        for pragma in READER_PRAGMAS:
            connection.execute(pragma)
        return connection

    return _engine(connected, "BEGIN")


def _is_at_rest(path: Path) -> bool:
    """Whether the ledger has no log and lies in a read-only folder, where SQLite cannot create shared memory.

    If log and shared memory exist, a writer may have them open, and SQLite needs them for reading.
    """
    file = path.resolve()
    shared = all(file.with_name(file.name + suffix).exists() for suffix in ("-wal", "-shm"))
    return _size(file, "-wal") == 0 and not shared and not os.access(file.parent, os.W_OK)


@contextmanager
def reading(path: Path, older: bool = True) -> Iterator[Connection]:
    """A connection inside one read-only snapshot of the ledger at `path`.

    older: accept a file of an older schema, which is read unchanged; see `columns_of`. Raises NotALedger; StorageError
    if there is no ledger, if its schema was changed, and for any error of the body's SQL or a value of the wrong type
    in a column.
    """
    version = identify(path)
    if version is None:
        empty = "the file is empty (0 bytes), and so no ledger yet; scan into it first, or check the path"
        raise StorageError(f"{path}: {empty if path.exists() else 'no ledger there; check the path'}")
    check_log(path)
    if version < SCHEMA and not older:
        raise StorageError(f"{path}: schema {version} is older than {SCHEMA}; run: simkit db upgrade '{path}'")
    try:
        with translated(path), reader_engine(path).begin() as connection:
            refuse_changes(connection, path)
            yield connection
    except (TypeError, ArithmeticError) as error:  # a damaged page may hold any type in any column
        raise StorageError(f"{path}: the file is damaged and cannot be read further ({error})") from error


def columns_of(connection: Connection, table: str) -> list[str]:
    """The columns that `table` has in this file; a file of an older schema lacks the newest ones."""
    return [row[1] for row in connection.exec_driver_sql(f"PRAGMA table_info({table})")]


def selected(connection: Connection, table: str, wanted: str) -> str:
    """The columns `wanted` as a list for a SELECT from `table`, with NULL for each column that this file lacks."""
    present = set(columns_of(connection, table))
    return ", ".join(name if name in present else f"NULL AS {name}" for name in wanted.split(", "))


def alarms_by_run(connection: Connection) -> str:
    """A SELECT of run_id, alarms (a number of queries) and first_alarm (an ordinal); of no row in an older file."""
    if not columns_of(connection, "alarms"):
        return "SELECT NULL AS run_id, NULL AS alarms, NULL AS first_alarm"
    return "SELECT run_id, sum(queries) AS alarms, min(first) AS first_alarm FROM alarms GROUP BY run_id"


def _engine(connect: object, begin: str) -> Engine:
    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)

    @event.listens_for(engine, "begin")
    def _(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    @event.listens_for(engine, "handle_error")
    def _(context: ExceptionContext) -> None:
        # SQLAlchemy would close the connection after an interrupt, and SQLite then deletes the log
        if not isinstance(context.original_exception, Exception):
            context.is_disconnect = False

    return engine
