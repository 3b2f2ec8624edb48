"""The one writing connection of a ledger: it queues rows in memory, commits them, and syncs the file to the disk."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any, NamedTuple

from sqlalchemy import Connection

from db.engine import writer_engine
from db.errors import StorageError, translated
from db.seal import SEALED, insertion, seal

FLUSH_SECONDS = 0.5
"""Seconds between two syncs: a commit alone survives the death of the process, but not a power cut."""

QueuedRow = tuple[str, tuple[Any, ...]]
"""A table, and a row of it as its SEALED columns."""


class _Sealed(NamedTuple):
    """A row in the queue: its SEALED columns and their seal. queries: the number of answers that it brings."""

    table: str
    values: tuple[Any, ...]
    queries: int = 0


_QUEUED = ("steps", "calls", "refusals", "deliveries", "fingerprints", "pictures", "asked", "alarms")
"""Committed in this order, since calls and refusals refer to steps, and what stands beside a call to the call."""

_ONCE = {"pictures": " ON CONFLICT (sha256) DO NOTHING"}
"""What an insertion does with a row that is there; by default it fails."""


class Writer:
    """Queues rows and commits them together; rows that fail to commit stay queued. Safe to share among threads.

    An interrupt may come at any point, also between a commit of SQLite and the next line here: before the next
    transaction the file is asked whether it has the rows. `lock` also guards the counters of the runs. Every method
    raises StorageError, StorageBusy or StorageFull, and StorageError after `close`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = RLock()
        with translated(path):
            connection = writer_engine(path).connect()
        self._connection: Connection | None = connection
        self._driver: Any = connection.connection.dbapi_connection
        self._queue: list[_Sealed] = []
        self._sent = 0  # rows at the head of the queue whose transaction began; 0 once it is known to be stored
        self._unsure = False  # whether the last transaction was cut short
        self._synced = True  # whether every commit has reached the disk
        self._synced_at = time.monotonic()

    def add(self, table: str, row: tuple[Any, ...], queries: int = 0) -> None:
        """Queue a row of a table in _QUEUED, given as its SEALED columns. queries: its number of answers."""
        self.add_all([(table, row)], queries)

    def add_all(self, rows: Sequence[QueuedRow], queries: int = 0) -> None:
        """Queue rows that belong together, see `add`: all of them, or none if one cannot be made."""
        with self.lock:
            self._open_connection()
            sealed = [
                _Sealed(table, (*row, seal(row)), queries if n == 0 else 0) for n, (table, row) in enumerate(rows)
            ]
            self._queue.extend(sealed)  # at once, since an interrupt must not part them

    def commit(self) -> None:
        """Commit the queue in one transaction, and sync the file if the last sync is FLUSH_SECONDS ago."""
        with self.lock:
            if self._queue:
                with self.transaction():
                    pass
            if time.monotonic() - self._synced_at >= FLUSH_SECONDS:
                self._sync()

    def flush(self) -> None:
        """Commit the queue and wait until every commit is on the disk."""
        with self.lock:
            self.commit()
            self._sync()

    def _sync(self) -> None:
        """Sync the log, which holds every commit of this connection, as `synchronous = FULL` does after each commit."""
        self._synced_at = time.monotonic()  # set even if the sync fails, so that the next attempt waits as well
        if self._synced:
            return
        with translated(self.path):
            handle = os.open(self.path.with_name(f"{self.path.name}-wal"), os.O_RDWR)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        self._synced = True

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction: first the queue, then the body. If it fails, it is rolled back and the queue is kept."""
        with self.lock:
            connection = self._ready_connection()
            self._synced = False  # set before the commit, since an interrupt may come at any point
            self._unsure, self._sent = True, len(self._queue)
            sent = self._queue[: self._sent]
            unstored = sum(row.queries for row in sent)
            with translated(self.path, unstored), self._undone_on_error(), connection.begin():
                for table in _QUEUED:
                    if rows := [row.values for row in sent if row.table == table]:
                        connection.exec_driver_sql(insertion(table) + _ONCE.get(table, ""), rows)
                yield connection
            self._forget_sent()

    def read(self, sql: str, *values: object) -> Sequence[Sequence[Any]]:
        """The committed rows that `sql` selects; no transaction stays open."""
        with self.lock:
            connection = self._ready_connection()
            self._unsure = True
            with translated(self.path), self._undone_on_error(), connection.begin():
                rows = connection.exec_driver_sql(sql, values).fetchall()
            self._unsure = False
            return rows

    def close(self) -> None:
        """Commit the queue and close, even if the commit fails, which raises. Closing twice has no effect."""
        with self.lock:
            if self._connection is None:
                return
            try:
                try:
                    self.flush()
                except KeyboardInterrupt:  # what was paid for is stored first
                    self.flush()
                    raise
            finally:
                connection, self._connection = self._connection, None
                with translated(self.path):
                    connection.close()

    def _forget_sent(self) -> None:
        """Take the rows of a stored transaction from the queue."""
        del self._queue[: self._sent]
        self._unsure, self._sent = False, 0

    def _ready_connection(self) -> Connection:
        """The connection; after an interrupt a new one, and a queue without the rows that the file has already."""
        connection = self._open_connection()
        if self._unsure:
            with translated(self.path):
                connection = self._connection = self._renewed(connection)
                proof = next((row for row in self._queue[: self._sent] if row.table not in _ONCE), None)
                stored = proof is not None and _is_stored(connection, proof)
            if stored:
                self._forget_sent()
            self._unsure, self._sent = False, 0
        return connection

    def _renewed(self, former: Connection) -> Connection:
        """A connection in place of one that an interrupt may have left in any state. It is opened before the other is
        closed, since SQLite deletes the log with the last one."""
        if self._driver.in_transaction:
            self._driver.rollback()
        connection = writer_engine(self.path).connect()
        former.invalidate()
        self._driver = connection.connection.dbapi_connection
        return connection

    @contextmanager
    def _undone_on_error(self) -> Iterator[None]:
        """Roll back after an error if SQLite has not done so itself, which depends on the error."""
        handled = sys.exception()
        try:
            yield
        except BaseException as error:
            if self._driver.in_transaction:
                self._driver.rollback()
            if interrupt := _interrupt_before(error, handled):  # SQLAlchemy may put an error of its own in its place
                raise interrupt from None
            self._unsure = False  # nothing is stored; after an interrupt all may be
            raise

    def _open_connection(self) -> Connection:
        if self._connection is None:
            raise StorageError(f"{self.path}: this ledger is closed; open it again")
        return self._connection


def _interrupt_before(error: BaseException | None, handled: BaseException | None) -> BaseException | None:
    """The interrupt that is this error or led to it, since the one that was `handled` already; None if none did."""
    while error is not None and error is not handled:
        if not isinstance(error, Exception):
            return error
        error = error.__context__
    return None


def _is_stored(connection: Connection, row: _Sealed) -> bool:
    """Whether the file has this row. The rows of one transaction are stored together."""
    where = " AND ".join(f"{column} IS ?" for column in (*SEALED[row.table], "seal"))
    with connection.begin():
        return connection.exec_driver_sql(f"SELECT 1 FROM {row.table} WHERE {where}", row.values).first() is not None
