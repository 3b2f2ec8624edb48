"""Merges ledgers into one: finished runs are identified by their key, and all of them are taken or none."""

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

PARTS = tuple(table for table in metadata.sorted_tables if "run_id" in table.columns)
"""The tables whose rows belong to a run, parents first. A new table with a `run_id` is included automatically."""

_PAGE_ROWS = 32


@dataclass(frozen=True)
class Merged:
    """The outcome for one run of a source.

    outcome: `added`; `replaced`, if the target had an open run with the same first calls; `kept`, if the target already
    had the finished run; `other answers`, if it had the finished run with different calls, which are kept; `open`, if
    the run is not finished and therefore not taken. run: its id in the source. into: its id in the target ledger, None
    for a run that is only in the source.
    """

    source: Path
    run: int
    key: str
    model: str
    outcome: str
    into: int | None


def merge(into: Path, sources: Sequence[Path]) -> list[Merged]:
    """Copy every finished run of `sources` into the ledger at `into`, which may be new, in one transaction.

    Sources are only read, even while a scan writes them; a source of an older schema is copied and the copy is
    upgraded. Merging twice changes nothing. Raises StorageError and leaves `into` unchanged if a source is `into`
    itself, is not a ledger or is damaged, and if an open run in `into` has other first calls than the finished one.
    Raises StorageBusy while `into` is open.
    """
    for source in sources:
        _check_source(into, source)
    new = not into.exists()
    outcomes: list[Merged] = []
    with Ledger.open(into) as ledger:
        try:
            with ledger.transaction() as connection:
                for source in sources:
                    outcomes += _merged(_Target(connection, ledger.path), source)
        except BaseException:
            if new:
                ledger.discard_if_empty()
            raise
    return outcomes


def _check_source(into: Path, source: Path) -> None:
    if identify(source) is None:
        raise StorageError(f"{source}: no ledger there; check the path")
    with translated(into):
        if into.exists() and into.samefile(source):
            raise StorageError(f"{source}: the same file as {into}; leave it out")


@dataclass(frozen=True)
class _Target:
    """The target ledger inside the transaction. Its errors name it, even while a source is read."""

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
                    f"{into.path}: run {error.args[0]} is open and has other first calls than run {run} of {source} "
                    "with the same key; merge into another file"
                ) from None
            except _Damaged as error:
                raise StorageError(f"{source}: {error}; restore the file from a copy") from None
            yield Merged(source, run, key, model, outcome, own)


class _Damaged(Exception):
    """A damaged row of a source, described in words."""


class _Differs(Exception):
    """The id of an open run whose calls are not the first calls of the finished one."""


@contextmanager
def _opened(source: Path, scratch: Path) -> Iterator[Connection]:
    """A snapshot of `source` in the current schema; an older file is copied into `scratch` and upgraded there."""
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
    """Copy one finished run unless the target has it. Returns the outcome and the run's id in the target."""
    row = dict(reader.exec_driver_sql("SELECT * FROM runs WHERE id = ?", (run,)).mappings().one())
    _check_seal("runs", row, f"run {run}")
    stored = into.run("SELECT id, state FROM runs WHERE key = ?", (row["key"],)).one_or_none()
    if stored is None:
        return "added", _copy_run(into, reader, row)
    own = int(stored[0])
    agree = _agree(_calls(into.connection, own), _calls(reader, run), begins=stored[1] == "open")
    if stored[1] == "done":
        return "kept" if agree else "other answers", own
    if not agree:
        raise _Differs(own)
    for table in reversed(PARTS):
        into.run(f"DELETE FROM {table.name} WHERE run_id = ?", (own,))
    into.run("DELETE FROM runs WHERE id = ?", (own,))
    return "replaced", _copy_run(into, reader, row)


def _calls(connection: Connection, run: int) -> Iterable[Any]:
    """The calls of a run, each as its checksum and its step."""
    statement = (
        "SELECT c.codec, c.queries, c.charged, c.crc32, s.number, s.purpose, s.state"
        " FROM calls AS c LEFT JOIN steps AS s ON s.id = c.step_id WHERE c.run_id = ? ORDER BY c.number"
    )
    return connection.execution_options(yield_per=_PAGE_ROWS).exec_driver_sql(statement, (run,))


def _agree(own: Iterable[Any], other: Iterable[Any], *, begins: bool) -> bool:
    """Whether two runs have the same calls. begins: `own` may also have only the first of them."""
    return all(a == b or (begins and a is None) for a, b in zip_longest(own, other))


def _copy_run(into: _Target, reader: Connection, row: dict[str, Any]) -> int:
    """Insert the run and all its rows under new ids. Returns the new id of the run."""
    run, steps = row.pop("id"), dict[Any, Any]({None: None})
    own = int(into.run(_insert("runs", row), row).lastrowid)
    for table in PARTS:
        for page in _pages(reader, table.name, run):
            if table.name == "steps":
                (last,) = into.run("SELECT coalesce(max(id), 0) FROM steps", ()).one()
                steps |= {part["id"]: last + 1 + n for n, part in enumerate(page)}
            parts = [_renamed(part, own, steps, table.name) for part in page]
            into.run(_insert(table.name, parts[0]), parts)
    _copy_pictures(into, reader, run)
    return own


def _copy_pictures(into: _Target, reader: Connection, run: int) -> None:
    """Copy the kept images of a run that the target lacks; two runs may have asked about the same image."""
    options = reader.execution_options(yield_per=_PAGE_ROWS)
    rows = options.exec_driver_sql(
        "SELECT * FROM pictures WHERE sha256 IN"
        " (SELECT h.value FROM asked AS a, json_each(a.hashes) AS h WHERE a.run_id = ?)",
        (run,),
    ).mappings()
    while page := [dict(row) for row in islice(rows, _PAGE_ROWS)]:
        for row in page:
            _check_seal("pictures", row, f"picture {row['sha256'][:12]}")
        into.run(_insert("pictures", page[0]) + " ON CONFLICT (sha256) DO NOTHING", page)


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
    """The row with the new ids of its run and step. It keeps an id of its own only if other rows refer to it."""
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
