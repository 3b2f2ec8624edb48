"""The one writing connection of a ledger: what is committed, what waits in memory, and when the disk is waited for."""

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
"""How often the disk is waited for: a commit alone survives the death of the process, but not a power cut."""

_QUEUED = ("steps", "calls", "refusals")
"""In this order, since calls and refusals name steps."""


class Writer:
    """Rows queue here and are committed together; whatever fails to commit stays. Safe to share among threads.

    `lock` also guards the counters of the runs. Every method raises StorageError (Busy, Full), also after `close`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = RLock()
        with translated(path):
            self._connection: Connection | None = writer_engine(path).connect()
        self._pending: dict[str, list[tuple[Any, ...]]] = {table: [] for table in _QUEUED}
        self._queries = 0
        self._synced = True  # whether all that is committed has reached the disk
        self._synced_at = time.monotonic()

    def add(self, table: str, row: tuple[Any, ...], queries: int = 0) -> None:
        """Queue a row of `steps`, `calls` or `refusals`: its SEALED columns. queries: how many answers it holds."""
        with self.lock:
            self._open_connection()
            self._pending[table].append((*row, seal(row)))
            self._queries += queries

    def commit(self) -> None:
        """Commit everything queued, in one transaction, and wait for the disk where FLUSH_SECONDS have gone by."""
        with self.lock:
            if any(self._pending.values()):
                with self.transaction():
                    pass
            if time.monotonic() - self._synced_at >= FLUSH_SECONDS:
                self._sync()

    def flush(self) -> None:
        """Commit everything queued, and wait until all that was ever committed is on the disk."""
        with self.lock:
            self.commit()
            self._sync()

    def _sync(self) -> None:
        """What `synchronous = FULL` does after each commit: every commit of this connection went into the log."""
        self._synced_at = time.monotonic()  # also after a failure: the next try waits its turn
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
        """One transaction: the queue first, then the body. If any of it fails, all of it is undone and still queued."""
        with self.lock:
            connection = self._open_connection()
            self._synced = False  # before it is so: an interrupt may come at any point
            with translated(self.path, self._queries), _undone_on_error(connection), connection.begin():
                for table, rows in self._pending.items():
                    if rows:
                        connection.exec_driver_sql(insertion(table), rows)
                yield connection
            for rows in self._pending.values():
                rows.clear()
            self._queries = 0

    def read(self, sql: str, *values: object) -> Sequence[Sequence[Any]]:
        """What is committed, as rows; nothing stays open behind it."""
        with self.lock:
            connection = self._open_connection()
            with translated(self.path), connection.begin():
                return connection.exec_driver_sql(sql, values).fetchall()

    def close(self) -> None:
        """Commit the queue and close; closes too if that fails, and then raises. Closing twice is nothing."""
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
    """Leave no transaction behind: SQLite has rolled back by itself after some errors and not after others."""
    try:
        yield
    except BaseException:
        driver: Any = connection.connection.dbapi_connection
        if driver.in_transaction:
            driver.rollback()
        raise
