"""What goes wrong in a child: production code has no hooks, so that each fault patches what it needs, in the child."""

from __future__ import annotations

import ctypes
import importlib
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol


class Fault(Protocol):
    """What goes wrong; picklable, put in place by the child itself."""

    def put(self) -> None: ...


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Nothing:
    """All is well."""

    def put(self) -> None:
        pass


@dataclass(frozen=True)
class KillAfter:
    """SIGKILL some seconds after the first query."""

    seconds: float

    def put(self) -> None:
        from oracles.torch_model import TorchOracle

        query, begun = TorchOracle.query, threading.Event()

        def watched(self_: TorchOracle, images: Any, tag: Any = None) -> Any:
            if not begun.is_set():
                begun.set()
                threading.Timer(self.seconds, die).start()
            return query(self_, images, None)

        setattr(TorchOracle, "query", watched)  # noqa: B010 (mypy)


@dataclass(frozen=True)
class KillAt:
    """SIGKILL before or after the `visit`th call of a function; where: `module:Class.name` or `module:name`.

    when: `before`, `after`, or `before X`, where X is the table of one of the rows that `Writer.add_all` is given.
    """

    where: str
    when: str
    visit: int

    def put(self) -> None:
        module, _, path = self.where.partition(":")
        *owners, name = path.split(".")
        owner: Any = importlib.import_module(module)
        for part in owners:
            owner = getattr(owner, part)
        setattr(owner, name, self._dying(getattr(owner, name)))

    def _dying(self, real: Callable[..., Any]) -> Callable[..., Any]:
        when, _, argument = self.when.partition(" ")
        visits = 0

        def dying(*args: Any, **named: Any) -> Any:
            nonlocal visits
            meant = not argument or argument in [row[0] for row in args[1]]
            visits += meant
            struck = visits == self.visit and meant
            if struck and when == "before":
                die()
            result = real(*args, **named)
            if struck:
                die()
            return result

        return dying


def _traced(told: Callable[[str], None], pragmas: tuple[str, ...] = ()) -> None:
    """Have every connection of this process tell each statement as it begins, and each commit when it is done."""
    connect: Callable[..., sqlite3.Connection] = sqlite3.connect

    def connected(*args: Any, **named: Any) -> sqlite3.Connection:
        connection = connect(*args, **(named | {"factory": _telling(named.get("factory", sqlite3.Connection), told)}))
        for pragma in pragmas:
            connection.execute(pragma)
        connection.set_trace_callback(told)
        return connection

    setattr(sqlite3, "connect", connected)  # noqa: B010 (mypy)


def _telling(kind: Any, told: Callable[[str], None]) -> type[sqlite3.Connection]:
    def commit(self: sqlite3.Connection) -> None:
        sqlite3.Connection.commit(self)
        told("committed")

    return type("Telling", (kind,), {"commit": commit})


@dataclass(frozen=True)
class KillAtStatement:
    """SIGKILL as the `visit`th statement that begins with `sql` begins; `committed`: after a commit."""

    sql: str
    visit: int

    def put(self) -> None:
        visits = 0

        def told(statement: str) -> None:
            nonlocal visits
            visits += statement.startswith(self.sql)
            if statement.startswith(self.sql) and visits == self.visit:
                die()

        _traced(told)


@dataclass(frozen=True)
class MaxPages:
    """SQLite's own limit: as on a full disk, SQLITE_FULL."""

    pages: int

    def put(self) -> None:
        _traced(lambda _: None, (f"PRAGMA max_page_count = {self.pages}",))


@dataclass(frozen=True)
class FileSize:
    """No file may grow beyond `size` bytes: SQLITE_IOERR_WRITE, EFBIG."""

    size: int

    def put(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, self.size))


@dataclass(frozen=True)
class SystemCall:
    """The `at`th call of a kind, on files with this ending, fails; see shim.c.

    error: an errno, or 0 to die before the call, -1 after it.
    """

    ending: str
    kind: str
    at: int
    error: int
    times: int = 1

    def put(self) -> None:
        ctypes.CDLL(None).chaos_arm(
            self.ending.encode(), ctypes.c_char(self.kind.encode()), self.at, self.times, self.error
        )


_LOCK = """
import sqlite3, sys, time
held = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
held.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
time.sleep(float(sys.argv[2]))
held.execute("ROLLBACK")
"""


@dataclass(frozen=True)
class Locked:
    """Another process locks the ledger before call `at`, for `seconds`; this one waits for `patience` milliseconds."""

    db: str
    at: int
    seconds: float
    patience: int

    def put(self) -> None:
        import db.engine
        from oracles.torch_model import TorchOracle

        setattr(db.engine, "BUSY_MS", self.patience)  # noqa: B010 (mypy)
        query, calls = TorchOracle.query, 0

        def watched(self_: TorchOracle, images: Any, tag: Any = None) -> Any:
            nonlocal calls
            calls += 1
            if calls == self.at:
                self._lock()
            return query(self_, images, None)

        setattr(TorchOracle, "query", watched)  # noqa: B010 (mypy)

    def _lock(self) -> None:
        command = [sys.executable, "-S", "-c", _LOCK, self.db, str(self.seconds)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
