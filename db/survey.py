"""Reads what a report needs about each run, from one snapshot of the ledger, one run in memory at a time.

Counts come from the table of calls and not from the view `queries`, so that no answers are read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from sqlalchemy import Connection

from db.engine import columns_of, reading, selected
from db.records import (
    VERDICT_COLUMNS,
    RunInfo,
    TriggerRow,
    VerdictRow,
    unpack_run,
    unpack_verdict,
)
from db.trigger_rows import TRIGGER_COLUMNS, unpack_trigger

_INFO = ", ".join(field.name for field in fields(RunInfo))

_STEPS = """
    SELECT coalesce(s.purpose, 'external'), coalesce(s.state, '{}'), c.first, c.calls, c.queries, c.charged
    FROM (
        SELECT step_id, min(first) AS first, count(*) AS calls, sum(queries) AS queries, sum(charged) AS charged
        FROM calls WHERE run_id = ? GROUP BY step_id
    ) AS c LEFT JOIN steps AS s ON s.id = c.step_id ORDER BY c.first
"""


@dataclass(frozen=True)
class AskedStep:
    """A step with answered calls: its purpose, the searcher's state (JSON), and its queries.

    first: number of queries of the run before it. Calls without a step are combined in one, with purpose `external`.
    """

    purpose: str
    state: str
    first: int
    calls: int
    queries: int
    charged: int


@dataclass(frozen=True, eq=False)
class SurveyedRun:
    """A run without its calls.

    at: Unix time. refusals: number of queries by reason. verdict: None while open. alarms: of each detector of probing
    its name, its number of queries with an alarm, and the ordinal of the first. codecs: of the stored answers.
    """

    id: int
    info: RunInfo
    at: float
    steps: tuple[AskedStep, ...]
    refusals: tuple[tuple[str, int], ...]
    verdict: VerdictRow | None
    triggers: tuple[TriggerRow, ...]
    alarms: tuple[tuple[str, int, int], ...] = ()
    codecs: tuple[str, ...] = ()

    @property
    def spent(self) -> int:
        return sum(step.charged for step in self.steps)


def run_ids(path: Path) -> list[int]:
    """The ids of the runs, the newest first. Raises NotALedger, StorageError."""
    with reading(path) as connection:
        return _ids(connection)


def survey(path: Path, wanted: Collection[int] | None = None) -> Iterator[SurveyedRun]:
    """The runs of these ids, or all, the newest first. Raises NotALedger, StorageError."""
    with reading(path) as connection:
        for run in _ids(connection):
            if wanted is None or run in wanted:
                yield _surveyed(connection, run)


def _ids(connection: Connection) -> list[int]:
    return [run for (run,) in connection.exec_driver_sql("SELECT id FROM runs ORDER BY id DESC")]


def _surveyed(connection: Connection, run: int) -> SurveyedRun:
    *info, at = connection.exec_driver_sql(f"SELECT {_INFO}, at FROM runs WHERE id = ?", (run,)).one()
    steps = connection.exec_driver_sql(_STEPS, (run,))
    refusals = connection.exec_driver_sql(
        "SELECT reason, sum(queries) FROM refusals WHERE run_id = ? GROUP BY reason ORDER BY reason", (run,)
    )
    columns = selected(connection, "verdicts", VERDICT_COLUMNS)
    verdict = connection.exec_driver_sql(f"SELECT {columns} FROM verdicts WHERE run_id = ?", (run,))
    row = verdict.one_or_none()
    columns = selected(connection, "triggers", TRIGGER_COLUMNS)
    triggers = connection.exec_driver_sql(
        f"SELECT {columns} FROM triggers WHERE run_id = ? ORDER BY target_class", (run,)
    )
    alarms = (
        "SELECT detector, sum(queries), min(first) FROM alarms WHERE run_id = ? GROUP BY detector ORDER BY detector"
    )
    found = connection.exec_driver_sql(alarms, (run,)) if columns_of(connection, "alarms") else ()
    codecs = connection.exec_driver_sql("SELECT DISTINCT codec FROM calls WHERE run_id = ? ORDER BY codec", (run,))
    return SurveyedRun(
        run,
        unpack_run(info),
        at,
        tuple(AskedStep(*step) for step in steps),
        tuple((reason, queries) for reason, queries in refusals),
        None if row is None else unpack_verdict(row),
        tuple(unpack_trigger(trigger) for trigger in triggers),
        tuple((detector, queries, first) for detector, queries, first in found),
        tuple(codec for (codec,) in codecs),
    )
