"""Reading a ledger: frames and records, without ever locking, checkpointing or changing the file.

Every function opens `path` read-only and raises NotALedger or StorageError as `db.engine.reading` says. A run is
named by its id, the column `run`. Files of an older schema are read as they are: what they lack is missing (None).

Reading a ledger at rest leaves an empty `-wal` and a `-shm` beside it, as SQLite does for whoever may not write; the
next writer takes them away. In a folder where nothing may be written none are made, and none are needed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd
from sqlalchemy import Connection

from db.engine import reading, selected
from db.errors import StorageError
from db.pages import pages
from db.records import (
    TRIGGER_COLUMNS,
    VERDICT_COLUMNS,
    FloatArray,
    KeptRun,
    RunInfo,
    TriggerRow,
    VerdictRow,
    unpack_trigger,
    unpack_verdict,
)
from db.unpack import unpack

Value: TypeAlias = int | float | str | bytes | None

_CALLS_OF_STEPS = """
    SELECT step_id, count(*) AS calls, sum(queries) AS queries, min(first) AS first
    FROM calls WHERE run_id = :run GROUP BY step_id
"""
"""Summed before they are joined: no index leads from a step to its calls."""


def sql(path: Path, statement: str, values: Mapping[str, Value] | None = None) -> pd.DataFrame:
    """What a SELECT finds; `:name` in it stands for a value by that name. Writing raises StorageError."""
    with reading(path) as connection:
        return _frame(connection, statement, values)


def runs(path: Path) -> pd.DataFrame:
    """One row a run, by `run`: what it is of, its state, and what it spent so far."""
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
    """The runs of the same model, images and settings as `info`, by id, wherever and with whatever they were made."""
    statement = (
        "SELECT id, key, environment FROM runs"
        " WHERE key = ? OR (model_hash = ? AND data_hash = ? AND config = ? AND budget IS ?) ORDER BY id"
    )
    same = (info.key, info.model_hash, info.data_hash, info.config, info.budget)
    with reading(path) as connection:
        return [KeptRun(run, key, json.loads(told)) for run, key, told in connection.exec_driver_sql(statement, same)]


def queries(path: Path, run: int | None = None, limit: int | None = None) -> pd.DataFrame:
    """One row a query, in order: the view `queries`, of one run or all, the first `limit` of them or all.

    `step` is missing for external queries, `score` where the service told none; `answer` is bytes in the call's codec.
    """
    # calls come by their index and the rows of one in order; sorting by query too would read all to give the first few
    where = "" if run is None else "WHERE run = :run"
    statement = f"SELECT * FROM queries {where} ORDER BY run, call LIMIT :limit"
    values = {"run": run, "limit": -1 if limit is None else limit}
    return sql(path, statement, values).astype({"step": "Int64", "score": "float64"})


def steps(path: Path, run: int) -> pd.DataFrame:
    """One row a step of `run`, by number: purpose, what the searcher knew (JSON), its calls and queries."""
    statement = f"""
        SELECT s.number AS step, s.purpose, s.state, coalesce(c.calls, 0) AS calls, coalesce(c.queries, 0) AS queries,
            s.at
        FROM steps AS s LEFT JOIN ({_CALLS_OF_STEPS}) AS c ON c.step_id = s.id
        WHERE s.run_id = :run ORDER BY s.number
    """
    return sql(path, statement, {"run": run})


def curve(path: Path, run: int) -> pd.DataFrame:
    """What the searcher knew against what it had cost: one row a step of `run`, by number.

    `queries`: asked in the run before the step. Beside it, `step` and `purpose` there is a column for every key of the
    steps' states, missing where a state lacks it.
    """
    statement = f"""
        SELECT s.number AS step, s.purpose, c.first, s.state,
            (SELECT coalesce(sum(queries), 0) FROM calls WHERE run_id = :run) AS total
        FROM steps AS s LEFT JOIN ({_CALLS_OF_STEPS}) AS c ON c.step_id = s.id
        WHERE s.run_id = :run ORDER BY s.number
    """
    found = sql(path, statement, {"run": run})
    # a step that asked nothing knew what the next one knew; after the last call everything was asked
    asked = pd.to_numeric(found["first"]).bfill().fillna(found["total"]).astype("int64")
    states = pd.DataFrame([json.loads(state) for state in found["state"]], index=found.index)
    known = states.drop(columns=["step", "purpose", "queries"], errors="ignore")
    return pd.concat([found[["step", "purpose"]], asked.rename("queries"), known], axis=1)


def answers(path: Path, run: int) -> FloatArray:
    """Every score that `run` was told, float32 (queries, classes) in order, NaN for a class whose score was not told.

    Raises StorageError where only labels were told: those are the column `label` of `queries`; and at a damaged call.
    """
    parts: list[FloatArray] = []
    with reading(path) as connection:
        for page in pages(connection, run):
            part = unpack(page.codec, page.answers).dense()
            if part is None:
                raise StorageError(f"{path}: run {run} was told labels alone; read the column `label` of its queries")
            parts.append(part)
    if not parts:
        raise StorageError(f"{path}: run {run} has no queries; see the column `run` of the runs")
    return np.concatenate(parts)


def spend(path: Path) -> pd.DataFrame:
    """Calls, queries and charged queries of each run and purpose: the view `spend`."""
    return sql(path, "SELECT * FROM spend ORDER BY run, purpose")


def image_queries(path: Path, run: int) -> int:
    """Of the queries that `run` paid for, those that went into making images: their steps' states say `synthesis`."""
    statement = """
        SELECT coalesce(sum(c.charged), 0) FROM calls AS c JOIN steps AS s ON s.id = c.step_id
        WHERE c.run_id = ? AND s.purpose = 'check' AND json_extract(s.state, '$.synthesis') IS NOT NULL
    """
    with reading(path) as connection:
        return int(connection.exec_driver_sql(statement, (run,)).scalar_one())


def verdicts(path: Path) -> pd.DataFrame:
    """One row a finished run: its verdict beside its model, data, seed and budget. `flagged` is a JSON list."""
    with reading(path) as connection:
        told = selected(connection, "verdicts", VERDICT_COLUMNS)
        statement = f"""
            SELECT v.run_id AS run, r.model, r.data, r.seed, r.budget, {told}, v.at
            FROM verdicts AS v JOIN runs AS r ON r.id = v.run_id ORDER BY v.run_id
        """
        reals = {field.name: "float64" for field in fields(VerdictRow) if field.type == "float | None"}
        return _frame(connection, statement).astype({"budget": "Int64", **reals})


def triggers(path: Path, run: int) -> list[TriggerRow]:
    """The triggers of `run`, by target class; empty if it is not finished or not there."""
    with reading(path) as connection:
        columns = selected(connection, "triggers", TRIGGER_COLUMNS)
        statement = f"SELECT {columns} FROM triggers WHERE run_id = ? ORDER BY target_class"
        return [unpack_trigger(row) for row in connection.exec_driver_sql(statement, (run,))]


def result(path: Path, run: int) -> VerdictRow | None:
    """The verdict of `run`, None if it is not finished or not there."""
    with reading(path) as connection:
        columns = selected(connection, "verdicts", VERDICT_COLUMNS)
        statement = f"SELECT {columns} FROM verdicts WHERE run_id = ?"
        row = connection.exec_driver_sql(statement, (run,)).one_or_none()
        return None if row is None else unpack_verdict(row)


def _frame(connection: Connection, statement: str, values: Mapping[str, Value] | None = None) -> pd.DataFrame:
    # not by pandas: its errors would hide the driver's; not by `text`: it takes '%H:%M' for a parameter named M
    found = connection.exec_driver_sql(statement, dict(values or {}))
    if not found.returns_rows:
        raise ValueError("a statement without rows; give a SELECT")
    return pd.DataFrame(found.fetchall(), columns=list(found.keys()))
