"""Ledgers into one: finished runs by their key, all of them or none."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from db.engine import identify, reading, writer_engine
from db.errors import StorageError, translated
from db.ledger import Ledger
from db.migrations import upgrade
from db.seal import SEALED, seal
from db.tables import SCHEMA, metadata

PARTS = tuple(table for table in metadata.sorted_tables if table.name not in ("meta", "runs"))
"""What belongs to a run, parents first: a new table comes along by itself, if it has a `run_id`."""

_PAGE_ROWS = 32


@dataclass(frozen=True)
class Merged:
    """What became of one run of a source.

    outcome: `added`; `replaced`, an open run whose calls it begins with; `kept`, what was there already and finished;
    `other answers`, kept as well, though the calls of the two differ; `open`, not finished and so not taken.
    run: its id in the source. into: its id in the ledger merged into, None for a run that is only in the source.
    """

    source: Path
    run: int
    key: str
    model: str
    outcome: str
    into: int | None


def merge(into: Path, sources: Sequence[Path]) -> list[Merged]:
    """Take every finished run of `sources` into the ledger at `into`, new or not, in one transaction.

    A source is only read, also while a scan writes it, and a copy is upgraded of one of an older schema. Doing it twice
    changes nothing. Raises StorageError, with `into` as it was: for a source that is `into` itself, is no ledger or is
    damaged, and for an open run in `into` that did not begin as the finished one did; StorageBusy while it is open.
    """
    for source in sources:
        _check_source(into, source)
    new = not into.exists()
    found: list[Merged] = []
    with Ledger.open(into) as ledger:
        try:
            with ledger.transaction() as connection:
                for source in sources:
                    found += _merged(_Target(connection, ledger.path), source)
        except BaseException:
            if new:
                ledger.discard_if_empty()
            raise
    return found


def _check_source(into: Path, source: Path) -> None:
    if identify(source) is None:
        raise StorageError(f"{source}: no ledger there; check the path")
    with translated(into):
        if into.exists() and into.samefile(source):
            raise StorageError(f"{source}: the same file as {into}; leave it out")


@dataclass(frozen=True)
class _Target:
    """The ledger merged into, inside the transaction; its errors name it, though a source is being read."""

    connection: Connection
    path: Path

    def run(self, statement: str, values: Any) -> Any:  # SQLAlchemy 2.0 and 2.1 name the rows differently
        with translated(self.path):
            return self.connection.exec_driver_sql(statement, values)


def _merged(into: _Target, source: Path) -> Iterator[Merged]:
    with _opened(source, into.path.parent) as reader:
        for run, key, model, state in reader.exec_driver_sql("SELECT id, key, model, state FROM runs ORDER BY id"):
            try:
                outcome, own = _take(into, reader, run) if state == "done" else ("open", None)
            except _Differs as error:
                raise StorageError(
                    f"{into.path}: run {error.args[0]} is open and began otherwise than run {run} of {source}, which "
                    "has its key; merge into another file"
                ) from None
            except _Damaged as error:
                raise StorageError(f"{source}: {error}; restore the file from a copy") from None
            yield Merged(source, run, key, model, outcome, own)


class _Damaged(Exception):
    """A row of a source that is not as it was written, in words."""


class _Differs(Exception):
    """An open run, by its id, that is no beginning of the finished one."""


@contextmanager
def _opened(source: Path, scratch: Path) -> Iterator[Connection]:
    """A snapshot of `source` in today's schema; an older one is copied into `scratch` and upgraded there."""
    with ExitStack() as stack:
        path = source
        if (identify(source) or 0) < SCHEMA:
            with translated(source):
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix=".simkit-merge-", dir=scratch))
            path = Path(folder) / source.name
            _copy(source, path)
            with translated(path), writer_engine(path, journal="delete").begin() as upgrading:
                upgrade(upgrading)
        yield stack.enter_context(reading(path, older=False))


def _copy(source: Path, path: Path) -> None:
    with reading(source) as connection, translated(path), closing(sqlite3.connect(path)) as copy:
        driver: Any = connection.connection.dbapi_connection
        driver.backup(copy)


def _take(into: _Target, reader: Connection, run: int) -> tuple[str, int]:
    """Copy one finished run, unless it is there: what was done, and its id in the ledger merged into."""
    row = dict(reader.exec_driver_sql("SELECT * FROM runs WHERE id = ?", (run,)).mappings().one())
    _check_seal("runs", row, f"run {run}")
    there = into.run("SELECT id, state FROM runs WHERE key = ?", (row["key"],)).one_or_none()
    if there is None:
        return "added", _copy_run(into, reader, row)
    own = int(there[0])
    agree = _agree(_calls(into.connection, own), _calls(reader, run), begins=there[1] == "open")
    if there[1] == "done":
        return "kept" if agree else "other answers", own
    if not agree:
        raise _Differs(own)
    for table in reversed(PARTS):
        into.run(f"DELETE FROM {table.name} WHERE run_id = ?", (own,))
    into.run("DELETE FROM runs WHERE id = ?", (own,))
    return "replaced", _copy_run(into, reader, row)


def _calls(connection: Connection, run: int) -> Iterable[Any]:
    """What each call of a run held, by checksum, and in which step."""
    statement = (
        "SELECT c.codec, c.queries, c.charged, c.crc32, s.number, s.purpose, s.state"
        " FROM calls AS c LEFT JOIN steps AS s ON s.id = c.step_id WHERE c.run_id = ? ORDER BY c.number"
    )
    return connection.execution_options(yield_per=_PAGE_ROWS).exec_driver_sql(statement, (run,))


def _agree(one: Iterable[Any], other: Iterable[Any], *, begins: bool) -> bool:
    """Whether two runs held the same calls; begins: or `one` only the first of them."""
    return all(a == b or (begins and a is None) for a, b in zip_longest(one, other))


def _copy_run(into: _Target, reader: Connection, row: dict[str, Any]) -> int:
    """Insert the run and all that belongs to it, under new ids; returns its own."""
    run, steps = row.pop("id"), dict[Any, Any]({None: None})
    own = int(into.run(_insert("runs", row), row).lastrowid)
    for table in PARTS:
        for page in _pages(reader, table.name, run):
            if table.name == "steps":
                (last,) = into.run("SELECT coalesce(max(id), 0) FROM steps", ()).one()
                steps |= {part["id"]: last + 1 + n for n, part in enumerate(page)}
            parts = [_renamed(part, own, steps, table.name) for part in page]
            into.run(_insert(table.name, parts[0]), parts)
    return own


def _pages(reader: Connection, table: str, run: int) -> Iterator[list[dict[str, Any]]]:
    options = reader.execution_options(yield_per=_PAGE_ROWS)
    rows = options.exec_driver_sql(f"SELECT * FROM {table} WHERE run_id = ? ORDER BY rowid", (run,)).mappings()
    while page := [dict(part) for part in islice(rows, _PAGE_ROWS)]:
        for part in page:
            _check_seal(table, part, f"run {run}, {table} {part.get('number', '')}".rstrip())
        yield page


def _check_seal(table: str, row: dict[str, Any], what: str) -> None:
    if table in SEALED and seal(row[name] for name in SEALED[table]) != row["seal"]:
        raise _Damaged(f"{what} is damaged")


def _renamed(part: dict[str, Any], run: int, steps: dict[Any, Any], table: str) -> dict[str, Any]:
    """The row as it is inserted: of another run and step; with an id of its own only where others name it."""
    renamed = {name: value for name, value in part.items() if name != "id"} | {"run_id": run}
    if table == "steps":
        renamed["id"] = steps[part["id"]]
    if "step_id" in part:
        renamed["step_id"] = steps[part["step_id"]]
    if table in SEALED:
        renamed["seal"] = seal(renamed[name] for name in SEALED[table])
    return renamed


def _insert(table: str, row: dict[str, Any]) -> str:
    columns, marks = (", ".join(form.format(name) for name in row) for form in ('"{}"', ":{}"))
    return f"INSERT INTO {table} ({columns}) VALUES ({marks})"
