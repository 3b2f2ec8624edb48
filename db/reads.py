"""Reads a ledger as data frames and records, without locking, checkpointing or changing the file.

Every function opens `path` read-only and raises NotALedger or StorageError like `db.engine.reading`. A run is named by
its id, the column `run`. Files of an older schema are read unchanged; values that they lack are missing (None).

Reading a ledger that no one writes leaves an empty `-wal` and a `-shm` file beside it, as SQLite does for read-only
connections; the next writer removes them. In a read-only folder neither is made or needed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from sqlalchemy import Connection

from db.engine import alarms_by_run, reading, selected
from db.errors import StorageError
from db.pages import pages
from db.records import (
    OBJECTS,
    VERDICT_COLUMNS,
    FloatArray,
    KeptRun,
    RunInfo,
    TriggerRow,
    VerdictRow,
    check_object,
    unpack_verdict,
)
from db.trigger_rows import TRIGGER_COLUMNS, unpack_trigger
from db.unpack import unpack

if TYPE_CHECKING:
    import pandas as pd

Value: TypeAlias = int | float | str | bytes | None

_CALLS_OF_STEPS = """
    SELECT step_id, count(*) AS calls, sum(queries) AS queries, min(first) AS first
    FROM calls WHERE run_id = :run GROUP BY step_id
"""
"""Summed before the join, since no index leads from a step to its calls."""


def sql(path: Path, statement: str, values: Mapping[str, Value] | None = None) -> pd.DataFrame:
    """The result of a SELECT; `:name` in it stands for the value of that name. Writing raises StorageError."""
    with reading(path) as connection:
        return _frame(connection, statement, values)


def runs(path: Path) -> pd.DataFrame:
    """One row per run, by `run`: its model, data and settings, its state, and the queries spent so far."""
    statement = """
        SELECT r.id AS run, r.key, r.model, r.model_hash, r.data, r.data_hash, r.oracle, r.config, r.seed, r.budget,
            r.environment, r.state, coalesce(c.spent, 0) AS spent, r.at
        FROM runs AS r LEFT JOIN (SELECT run_id, sum(charged) AS spent FROM calls GROUP BY run_id) AS c
            ON c.run_id = r.id
        ORDER BY r.id
    """
    return sql(path, statement).astype({"budget": "Int64"})


def overview(path: Path) -> pd.DataFrame:
    """One row a run, in short: model, data, budget, what it spent so far, and its verdict, empty while it is open."""
    statement = """
        SELECT r.id AS run, r.model, r.data, r.budget, coalesce(c.spent, 0) AS spent, v.verdict, v.flagged
        FROM runs AS r LEFT JOIN verdicts AS v ON v.run_id = r.id
            LEFT JOIN (SELECT run_id, sum(charged) AS spent FROM calls GROUP BY run_id) AS c ON c.run_id = r.id
        ORDER BY r.id
    """
    return sql(path, statement).astype({"budget": "Int64", "verdict": "string", "flagged": "string"})


def same_scans(path: Path, info: RunInfo) -> list[KeptRun]:
    """The runs with the same model, images and settings as `info`, by id, made in any environment."""
    statement = (
        "SELECT id, key, environment FROM runs"
        " WHERE key = ? OR (model_hash = ? AND data_hash = ? AND config = ? AND budget IS ?) ORDER BY id"
    )
    same = (info.key, info.model_hash, info.data_hash, info.config, info.budget)
    with reading(path) as connection:
        rows = connection.exec_driver_sql(statement, same)
        return [
            KeptRun(run, key, check_object(environment, f"the environment of run {run}"))
            for run, key, environment in rows
        ]


def listed(path: Path) -> list[dict[str, Any]]:
    """One mapping per run, by id, of plain values: pandas takes longer to import than everything else together.

    run, model, data, oracle, config, seed, budget, state, environment (JSON), spent; codecs of the answers, joined by
    commas, None without any; image_shape of its triggers, a JSON list (C, H, W), None without any; of its verdict,
    None in an open run: verdict, stopped, score, flagged (a JSON list), seconds, api_seconds, cost. alarms: queries
    with an alarm of a detector of probing. first_alarm: the ordinal of the first; both are None without one. Raises
    StorageError where oracle, config or environment is no JSON object.
    """
    own = "verdict, stopped, score, flagged, seconds, api_seconds, cost"
    with reading(path) as connection:
        statement = f"""
            SELECT r.id AS run, r.model, r.data, r.oracle, r.config, r.seed, r.budget, r.state, r.environment,
                (SELECT coalesce(sum(charged), 0) FROM calls WHERE run_id = r.id) AS spent,
                (SELECT group_concat(DISTINCT codec) FROM calls WHERE run_id = r.id) AS codecs,
                (SELECT json_array(channels, height, width) FROM triggers WHERE run_id = r.id LIMIT 1) AS image_shape,
                {own}, alarms, first_alarm
            FROM runs AS r LEFT JOIN (SELECT run_id, {selected(connection, "verdicts", own)} FROM verdicts) AS v
                ON v.run_id = r.id
            LEFT JOIN ({alarms_by_run(connection)}) AS a ON a.run_id = r.id
            ORDER BY r.id
        """
        rows = [dict(row._mapping) for row in connection.exec_driver_sql(statement)]
    for row in rows:
        for name in OBJECTS:
            check_object(row[name], f"the {name} of run {row['run']}")
    return rows


def queries(path: Path, run: int | None = None, limit: int | None = None) -> pd.DataFrame:
    """One row per query, in order: the view `queries`, of one run or of all runs, at most `limit` rows.

    `step` is missing for external queries, `score` where the service gave none; `answer` is bytes in the call's codec.
    """
    # calls are read by their index and the rows of a call in order; sorting by query as well would read everything
    where = "" if run is None else "WHERE run = :run"
    statement = f"SELECT * FROM queries {where} ORDER BY run, call LIMIT :limit"
    values = {"run": run, "limit": -1 if limit is None else limit}
    return sql(path, statement, values).astype({"step": "Int64", "score": "float64"})


def steps(path: Path, run: int) -> pd.DataFrame:
    """One row per step of `run`, by number: its purpose, the searcher's state (JSON), its calls and queries."""
    statement = f"""
        SELECT s.number AS step, s.purpose, s.state, coalesce(c.calls, 0) AS calls, coalesce(c.queries, 0) AS queries,
            s.at
        FROM steps AS s LEFT JOIN ({_CALLS_OF_STEPS}) AS c ON c.step_id = s.id
        WHERE s.run_id = :run ORDER BY s.number
    """
    return sql(path, statement, {"run": run})


def curve(path: Path, run: int) -> pd.DataFrame:
    """The searcher's state against the queries spent: one row per step of `run`, by number.

    `queries`: number of queries sent in the run before the step. The other columns are `step`, `purpose`, and one for
    every key of the steps' states, missing where a state lacks it.
    """
    statement = f"""
        SELECT s.number AS step, s.purpose, c.first, s.state,
            (SELECT coalesce(sum(queries), 0) FROM calls WHERE run_id = :run) AS total
        FROM steps AS s LEFT JOIN ({_CALLS_OF_STEPS}) AS c ON c.step_id = s.id
        WHERE s.run_id = :run ORDER BY s.number
    """
    import pandas as pd  # slow to import; only what returns frames needs it

    frame = sql(path, statement, {"run": run})
    # a step without calls has the count of the next one; after the last call the count is the total
    before = pd.to_numeric(frame["first"]).bfill().fillna(frame["total"]).astype("int64")
    states = pd.DataFrame([json.loads(state) for state in frame["state"]], index=frame.index)
    others = states.drop(columns=["step", "purpose", "queries"], errors="ignore")
    return pd.concat([frame[["step", "purpose"]], before.rename("queries"), others], axis=1)


def answers(path: Path, run: int) -> FloatArray:
    """All scores that `run` received, float32 (queries, classes) in order, NaN for a class whose score is missing.

    Raises StorageError if the oracle was label-only (see the column `label` of `queries`), and at a damaged call.
    """
    parts: list[FloatArray] = []
    with reading(path) as connection:
        for page in pages(connection, run):
            part = unpack(page.codec, page.answers).dense()
            if part is None:
                raise StorageError(f"{path}: run {run} has labels only; read the column `label` of its queries")
            parts.append(part)
    if not parts:
        raise StorageError(f"{path}: run {run} has no queries; see the column `run` of the runs")
    return np.concatenate(parts)


def spend(path: Path) -> pd.DataFrame:
    """Calls, queries and charged queries of each run and purpose: the view `spend`."""
    return sql(path, "SELECT * FROM spend ORDER BY run, purpose")


def image_queries(path: Path, run: int) -> int:
    """The charged queries of `run` that were spent on synthesising images, by the key `synthesis` of their steps."""
    statement = """
        SELECT coalesce(sum(c.charged), 0) FROM calls AS c JOIN steps AS s ON s.id = c.step_id
        WHERE c.run_id = ? AND s.purpose = 'check' AND json_extract(s.state, '$.synthesis') IS NOT NULL
    """
    with reading(path) as connection:
        return int(connection.exec_driver_sql(statement, (run,)).scalar_one())


def check_queries(path: Path, run: int) -> int:
    """The queries of `run` that were answered in its first check of the images."""
    statement = """
        SELECT coalesce(sum(c.queries), 0) FROM calls AS c JOIN steps AS s ON s.id = c.step_id
        WHERE c.run_id = ? AND s.purpose = 'check'
    """
    with reading(path) as connection:
        return int(connection.exec_driver_sql(statement, (run,)).scalar_one())


def verdicts(path: Path) -> pd.DataFrame:
    """One row per finished run: its verdict, model, data, seed and budget. `flagged` is a JSON list."""
    with reading(path) as connection:
        columns = selected(connection, "verdicts", VERDICT_COLUMNS)
        statement = f"""
            SELECT v.run_id AS run, r.model, r.data, r.seed, r.budget, {columns}, v.at
            FROM verdicts AS v JOIN runs AS r ON r.id = v.run_id ORDER BY v.run_id
        """
        reals = {field.name: "float64" for field in fields(VerdictRow) if field.type == "float | None"}
        return _frame(connection, statement).astype({"budget": "Int64", **reals})


def triggers(path: Path, run: int) -> list[TriggerRow]:
    """The triggers of `run`, by target class; empty if the run is not finished or does not exist."""
    with reading(path) as connection:
        columns = selected(connection, "triggers", TRIGGER_COLUMNS)
        statement = f"SELECT {columns} FROM triggers WHERE run_id = ? ORDER BY target_class"
        return [unpack_trigger(row) for row in connection.exec_driver_sql(statement, (run,))]


def result(path: Path, run: int) -> VerdictRow | None:
    """The verdict of `run`; None if the run is not finished or does not exist."""
    with reading(path) as connection:
        columns = selected(connection, "verdicts", VERDICT_COLUMNS)
        statement = f"SELECT {columns} FROM verdicts WHERE run_id = ?"
        row = connection.exec_driver_sql(statement, (run,)).one_or_none()
        return None if row is None else unpack_verdict(row)


def _frame(connection: Connection, statement: str, values: Mapping[str, Value] | None = None) -> pd.DataFrame:
    import pandas as pd  # slow to import; only what returns frames needs it

    # not pandas.read_sql, which hides SQLite's errors; not `text`, which takes '%H:%M' for a parameter named M
    answer = connection.exec_driver_sql(statement, dict(values or {}))
    if not answer.returns_rows:
        raise ValueError("the statement returns no rows; give a SELECT")
    return pd.DataFrame(answer.fetchall(), columns=list(answer.keys()))
