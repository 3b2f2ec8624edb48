"""Connections to files that this process may not open otherwise: why, and how it knows.

POSIX takes away all locks that a process has on a file when the process closes any descriptor of that file. Reading the
header of a ledger that a connection here has open would let another program, which closes it, take the log away from
under that connection, and with it every later commit (https://www.sqlite.org/howtocorrupt.html, 2.2).
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
"""By file, the connections of this process. Locks belong to the process, so that this does too."""


class _Connection(sqlite3.Connection):
    """A connection that is counted until it is closed."""

    held: Path | None = None

    def close(self) -> None:
        super().close()
        _release(self)


def connect(path: Path, database: str | Path, **options: Any) -> sqlite3.Connection:
    """`sqlite3.connect(database, **options)`, for a connection to the file at `path`."""
    held = path.resolve()
    with _LOCK:  # counted first: nobody may close the file between the connection's first lock and this
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
    """Whether no connection here has the file at `path` open; while the body runs none is opened."""
    with _LOCK:
        yield _OPEN[path.resolve()] <= 0
