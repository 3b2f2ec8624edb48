"""Refusals that are counted in few rows, so that a caller who is refused again and again fills no disk."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from db.errors import StorageError
from db.seal import insertion, seal
from db.writer import Writer

TALLY_SECONDS = 60.0
"""How long a row of refusals counts further ones of the same run and reason."""

Store: TypeAlias = Callable[[int | None, int, str, float], int]
"""Commits a row of refusals: its id (None for a new row), its queries, its reason, the time of its first. Returns the
id; raises StorageError."""


@dataclass
class _Row:
    """A row of refusals. id: None until it is stored. written: the queries that are stored, of those counted."""

    at: float
    id: int | None = None
    queries: int = 0
    written: int = 0


class Tally:
    """Counts the refusals of one run outside its steps: a row for each reason and minute. Each is committed at once.

    Not safe to share among threads; a lock of the run guards it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rows: dict[str, _Row] = {}

    def add(self, queries: int, reason: str) -> None:
        """Count a refused call. Raises StorageError; the queries are then stored with the next ones."""
        now, row = time.time(), self._rows.get(reason)
        if row is None or (row.written == row.queries and not 0.0 <= now - row.at < TALLY_SECONDS):
            row = self._rows[reason] = _Row(now)
        row.queries += queries
        row.id = self._store(row.id, row.queries, reason, row.at)
        row.written = row.queries


def into_ledger(writer: Writer, run: int) -> Store:
    """Stores the refusals of a run in its ledger."""

    def store(row: int | None, queries: int, reason: str, at: float) -> int:
        values = (run, None, queries, reason, at)
        with writer.transaction() as connection:
            if row is None:
                stored = int(connection.exec_driver_sql(insertion("refusals"), (*values, seal(values))).lastrowid)
            else:
                statement = "UPDATE refusals SET queries = ?, seal = ? WHERE id = ? AND run_id = ?"
                changed = connection.exec_driver_sql(statement, (queries, seal(values), row, run))
                stored = row
                if changed.rowcount != 1:
                    raise StorageError(f"{writer.path}: row {row} of refusals is gone; restore the file from a copy")
        writer.commit()
        return stored

    return store
