"""The one writing connection of a ledger: it queues rows in memory, commits them, and syncs the file to the disk."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any

from sqlalchemy import Connection

from db.engine import writer_engine
from db.errors import StorageError, translated
from db.seal import insertion, seal

FLUSH_SECONDS = 0.5
"""Seconds between two syncs: a commit alone survives the death of the process, but not a power cut."""

QueuedRow = tuple[str, tuple[Any, ...]]
"""A table, and a row of it as its SEALED columns."""

_QUEUED = ("steps", "calls", "refusals", "deliveries", "fingerprints", "pictures", "asked", "alarms")
"""Committed in this order, since calls and refusals refer to steps, and what stands beside a call to the call."""

_ONCE = {"pictures": " ON CONFLICT (sha256) DO NOTHING"}
"""What an insertion does with a row that is there; by default it fails."""


class Writer:
    """Queues rows and commits them together; rows that fail to commit stay queued. Safe to share among threads.

    `lock` also guards the counters of the runs. Every method raises StorageError, StorageBusy or StorageFull, and
    StorageError after `close`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = RLock()
        with translated(path):
            self._connection: Connection | None = writer_engine(path).connect()
        self._pending: dict[str, list[tuple[Any, ...]]] = {table: [] for table in _QUEUED}
        self._queries = 0
        self._synced = True  # whether every commit has reached the disk
        self._synced_at = time.monotonic()

    def add(self, table: str, row: tuple[Any, ...], queries: int = 0) -> None:
        """Queue a row of a table in _QUEUED, given as its SEALED columns. queries: its number of answers."""
        self.add_all([(table, row)], queries)

    def add_all(self, rows: Sequence[QueuedRow], queries: int = 0) -> None:
        """Queue rows that belong together, see `add`: all of them, or none if one cannot be made."""
        with self.lock:
            self._open_connection()
            sealed = [(self._pending[table], (*row, seal(row))) for table, row in rows]
            for queue, row in sealed:
                queue.append(row)
            self._queries += queries

    def commit(self) -> None:
        """Commit the queue in one transaction, and sync the file if the last sync is FLUSH_SECONDS ago."""
        with self.lock:
            if any(self._pending.values()):
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
            connection = self._open_connection()
            self._synced = False  # set before the commit, since an interrupt may come at any point
            with translated(self.path, self._queries), _undone_on_error(connection), connection.begin():
                for table, rows in self._pending.items():
                    if rows:
                        connection.exec_driver_sql(insertion(table) + _ONCE.get(table, ""), rows)
                yield connection
            for rows in self._pending.values():
                rows.clear()
            self._queries = 0

    def read(self, sql: str, *values: object) -> Sequence[Sequence[Any]]:
        """The committed rows that `sql` selects; no transaction stays open."""
        with self.lock:
            connection = self._open_connection()
            with translated(self.path), connection.begin():
                return connection.exec_driver_sql(sql, values).fetchall()

    def close(self) -> None:
        """Commit the queue and close, even if the commit fails, which raises. Closing twice has no effect."""
        with self.lock:
            if self._connection is None:
                return
            try:
                self.flush()
            finally:
                connection, self._connection = self._connection, None
                with translated(self.path):
                    connection.close()

    def _open_connection(self) -> Connection:
        if self._connection is None:
            raise StorageError(f"{self.path}: this ledger is closed; open it again")
        return self._connection


@contextmanager
def _undone_on_error(connection: Connection) -> Iterator[None]:
    """Roll back after an error if SQLite has not done so itself, which depends on the error."""
    try:
        yield
    except BaseException:
        driver: Any = connection.connection.dbapi_connection
        if driver.in_transaction:
            driver.rollback()
        raise
