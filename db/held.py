"""Counts the SQLite connections of this process per file, so that no open ledger is opened as a plain file.

With POSIX locks, a process loses all its locks on a file when it closes any descriptor of that file. If this process
read the header of a ledger that it has open, another program could delete the log of that ledger and lose every later
commit (https://www.sqlite.org/howtocorrupt.html, 2.2).
"""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_LOCK = threading.RLock()
_OPEN: Counter[Path] = Counter()
"""Number of open connections per file. Global, because POSIX locks belong to the process."""


class _Connection(sqlite3.Connection):
    """A connection that counts as open until it is closed."""

    held: Path | None = None

    def close(self) -> None:
        super().close()
        _release(self)


def connect(path: Path, database: str | Path, **options: Any) -> sqlite3.Connection:
    """`sqlite3.connect(database, **options)`, for a connection to the file at `path`."""
    held = path.resolve()
    with _LOCK:  # counted first, so that no thread closes the file after the connection has taken its first lock
        _OPEN[held] += 1
    try:
        connection = sqlite3.connect(database, factory=_Connection, **options)
    except BaseException:
        with _LOCK:
            _OPEN[held] -= 1
        raise
    setattr(connection, "held", held)  # noqa: B010 (mypy)
    return connection


def _release(connection: _Connection) -> None:
    with _LOCK:
        if connection.held is not None:
            _OPEN[connection.held] -= 1
            connection.held = None


@contextmanager
def apart(path: Path) -> Iterator[bool]:
    """Whether no connection of this process has `path` open; none is opened while the body runs."""
    with _LOCK:
        yield _OPEN[path.resolve()] <= 0
