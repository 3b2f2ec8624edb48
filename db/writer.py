"""The one writing connection of a ledger, and what waits in memory for the next commit."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any

from sqlalchemy import Connection

from db.engine import writer_engine
from db.errors import StorageError, translated

FLUSH_QUERIES = 20_000
FLUSH_SECONDS = 0.5
"""A commit waits for the disk: often enough to lose little in a crash, rarely enough to cost nothing."""

_INSERTS = {
    "steps": "INSERT INTO steps (id, run_id, number, purpose, state, at) VALUES (?, ?, ?, ?, ?, ?)",
    "calls": "INSERT INTO calls (run_id, step_id, number, first, queries, charged, codec, rows, answers, crc32, at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "refusals": "INSERT INTO refusals (run_id, step_id, queries, reason, at) VALUES (?, ?, ?, ?, ?)",
}  # in this order, since calls and refusals name steps


class Writer:
    """Rows gather here and are committed together; whatever fails to commit stays. Safe to share among threads.

    `lock` also guards the counters of the runs. Every method raises StorageError (Busy, Full), also after `close`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = RLock()
        with translated(path):
            self._connection: Connection | None = writer_engine(path).connect()
        self._pending: dict[str, list[tuple[Any, ...]]] = {table: [] for table in _INSERTS}
        self._queries = 0
        self._flushed_at = time.monotonic()

    def add(self, table: str, row: tuple[Any, ...], queries: int = 0) -> None:
        """Queue a row of `steps`, `calls` or `refusals`; queries: how many answers it holds."""
        with self.lock:
            self._open_connection()
            self._pending[table].append(row)
            self._queries += queries

    def flush_if_due(self) -> None:
        """Commit if enough queries or time have gone by."""
        if self._queries >= FLUSH_QUERIES or time.monotonic() - self._flushed_at >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Commit everything queued, in one transaction."""
        with self.lock:
            self._flushed_at = time.monotonic()  # also after a failure: the next try waits its turn
            if any(self._pending.values()):
                with self.transaction():
                    pass

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction: the queue first, then the body. If any of it fails, all of it is undone and still queued."""
        with self.lock:
            connection = self._open_connection()
            with translated(self.path, self._queries), _undone_on_error(connection), connection.begin():
                for table, rows in self._pending.items():
                    if rows:
                        connection.exec_driver_sql(_INSERTS[table], rows)
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
