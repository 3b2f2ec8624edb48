"""Refusals that are counted in few rows, so that a caller who is refused again and again fills no disk."""

from __future__ import annotations

import time
from dataclasses import dataclass

from db.errors import StorageError
from db.seal import insertion, seal
from db.writer import Writer

TALLY_SECONDS = 60.0
"""How long a row of refusals counts further ones of the same run and reason."""


@dataclass
class _Row:
    """A row of refusals. id: None until it is stored. written: the queries that are stored, of those counted."""

    at: float
    id: int | None = None
    queries: int = 0
    written: int = 0


class Tally:
    """Counts the refusals of one run outside its steps: a row for each reason and minute. Each is committed at once.

    Not safe to share among threads; the run's lock guards it.
    """

    def __init__(self, writer: Writer, run: int) -> None:
        self._writer, self._run = writer, run
        self._rows: dict[str, _Row] = {}

    def add(self, queries: int, reason: str) -> None:
        """Count a refused call. Raises StorageError; the queries are then stored with the next ones."""
        now, row = time.time(), self._rows.get(reason)
        if row is None or (row.written == row.queries and not 0.0 <= now - row.at < TALLY_SECONDS):
            row = self._rows[reason] = _Row(now)
        row.queries += queries
        values = (self._run, None, row.queries, reason, row.at)
        with self._writer.transaction() as connection:
            if row.id is None:
                stored = int(connection.exec_driver_sql(insertion("refusals"), (*values, seal(values))).lastrowid)
            else:
                stored = row.id
                statement = "UPDATE refusals SET queries = ?, seal = ? WHERE id = ? AND run_id = ?"
                changed = connection.exec_driver_sql(statement, (row.queries, seal(values), stored, self._run))
                if changed.rowcount != 1:
                    raise StorageError(f"{self._writer.path}: row {stored} of refusals is gone; restore the file")
        row.id, row.written = stored, row.queries
        self._writer.commit()
