"""Reads one run for a replay: its model, data and settings, its steps, its calls in order, and its refusals.

Nothing here locks, checkpoints or changes the file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from db.engine import reading
from db.errors import StorageError, UnknownRun
from db.records import RunInfo, StoredCall, checksum, unpack_rows, unpack_run

_PAGE_CALLS = 32
"""Number of calls read at a time, each page in its own snapshot, so that a running scan can shorten its log."""

_EXTERNAL = (
    "SELECT c.first, c.queries FROM calls AS c LEFT JOIN steps AS s ON s.id = c.step_id"
    " WHERE c.run_id = ? AND coalesce(s.purpose, 'external') = 'external' ORDER BY c.number"
)


@dataclass(frozen=True)
class StoredStep:
    """A stored step: its id, the purpose of its queries, and the searcher's state (JSON)."""

    id: int
    purpose: str
    state: str


@dataclass(frozen=True, eq=False)
class StoredRun:
    """A run of the ledger at `path`, finished or not.

    steps: by number. refused: the reason of a refusal by the id of its step, without refusals by the rate limit.
    queries: number of all answered queries. external: the ranges of those that were not the scan's own.
    """

    path: Path
    id: int
    info: RunInfo
    state: str
    steps: Mapping[int, StoredStep]
    refused: Mapping[int, str]
    queries: int
    external: tuple[range, ...]

    @classmethod
    def read(cls, path: Path, run: int | None = None) -> StoredRun:
        """The run with this id, or the only run. Raises UnknownRun if there is no such run."""
        columns = ", ".join(field.name for field in fields(RunInfo))
        with reading(path) as connection:
            ids = [int(row[0]) for row in connection.exec_driver_sql("SELECT id FROM runs ORDER BY id")]
            chosen = _chosen(path, ids, run)
            sql = f"SELECT state, {columns} FROM runs WHERE id = ?"
            state, *info = connection.exec_driver_sql(sql, (chosen,)).one()
            sql = "SELECT number, id, purpose, state FROM steps WHERE run_id = ? ORDER BY number"
            steps = {row[0]: StoredStep(*row[1:]) for row in connection.exec_driver_sql(sql, (chosen,))}
            sql = "SELECT step_id, reason FROM refusals WHERE run_id = ? AND step_id IS NOT NULL AND reason <> 'rate'"
            refused = {int(row[0]): str(row[1]) for row in connection.exec_driver_sql(sql, (chosen,))}
            sql = "SELECT coalesce(sum(queries), 0) FROM calls WHERE run_id = ?"
            queries = int(connection.exec_driver_sql(sql, (chosen,)).scalar_one())
            external = tuple(range(a, a + n) for a, n in connection.exec_driver_sql(_EXTERNAL, (chosen,)))
        return cls(path, chosen, unpack_run(info), state, steps, refused, queries, external)

    def calls(self) -> Iterator[StoredCall]:
        """The calls that were stored when the run was read, in order, a few in memory at a time.

        Raises StorageError on a call whose checksum differs.
        """
        sql = (
            "SELECT number, step_id, rows, codec, answers, first, crc32 FROM calls"
            " WHERE run_id = ? AND number >= ? ORDER BY number LIMIT ?"
        )
        number, left = -1, self.queries
        while left > 0:
            with reading(self.path) as connection:
                page = connection.exec_driver_sql(sql, (self.id, number + 1, _PAGE_CALLS)).all()
            if not page:
                raise StorageError(f"{self.path}: run {self.id}: calls were removed since it was read; read it again")
            for number, step, rows, codec, answers, first, crc32 in page:
                if checksum(codec, rows, answers) != crc32:
                    where = f"{self.path}: run {self.id}: call {number}"
                    raise StorageError(f"{where} is damaged; restore the file from a copy")
                call = StoredCall(step, unpack_rows(rows), codec, answers, first)
                if left > 0:  # skip calls that were added since
                    yield call
                left -= len(call.rows)

    def spent_before(self, steps: Collection[int]) -> int | None:
        """Queries charged before the first call of any of these steps, given by id; None if none of them has a call."""
        named = ", ".join(str(int(step)) for step in steps) or "NULL"
        first = f"SELECT min(first) FROM calls WHERE run_id = ? AND step_id IN ({named})"
        sql = f"SELECT sum(charged * (first < ({first}))) FROM calls WHERE run_id = ?"
        with reading(self.path) as connection:
            (spent,) = connection.exec_driver_sql(sql, (self.id, self.id)).one()
        return None if spent is None else int(spent)


def _chosen(path: Path, ids: list[int], run: int | None) -> int:
    if run is None and len(ids) == 1:
        return ids[0]
    if run in ids:
        return int(run)
    if not ids:
        raise StorageError(f"{path}: holds no run yet; scan into it first")
    stored = f"it has {', '.join(map(str, ids[:20]))}{', ...' if len(ids) > 20 else ''}"
    asked = "which run is meant?" if run is None else f"there is no run {run};"
    raise UnknownRun(f"{path}: {asked} {stored}; see simkit db runs")
