"""Reading a ledger: frames and records, without ever locking, checkpointing or changing the file.

Every function opens `path` read-only and raises NotALedger or StorageError as `db.engine.reading` says. A run is
named by its id, the column `run`.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
from sqlalchemy import bindparam, text

from db.engine import reading
from db.records import (
    TRIGGER_COLUMNS,
    VERDICT_COLUMNS,
    KeptRun,
    RunInfo,
    TriggerRow,
    VerdictRow,
    unpack_trigger,
    unpack_verdict,
)


def runs(path: Path) -> pd.DataFrame:
    """One row a run, by `run`: what it is of, its state, and what it spent so far."""
    sql = """
        SELECT r.id AS run, r.key, r.model, r.model_hash, r.data, r.data_hash, r.oracle, r.config, r.seed, r.budget,
            r.environment, r.state, coalesce(c.spent, 0) AS spent, r.at
        FROM runs AS r LEFT JOIN (SELECT run_id, sum(charged) AS spent FROM calls GROUP BY run_id) AS c
            ON c.run_id = r.id
        ORDER BY r.id
    """
    return _frame(path, sql, {"budget": "Int64"})


def same_scans(path: Path, info: RunInfo) -> list[KeptRun]:
    """The runs of the same model, images and settings as `info`, by id, wherever and with whatever they were made."""
    sql = (
        "SELECT id, key, environment FROM runs"
        " WHERE key = ? OR (model_hash = ? AND data_hash = ? AND config = ? AND budget IS ?) ORDER BY id"
    )
    same = (info.key, info.model_hash, info.data_hash, info.config, info.budget)
    with reading(path) as connection:
        return [KeptRun(run, key, json.loads(told)) for run, key, told in connection.exec_driver_sql(sql, same)]


def queries(path: Path, run: int | None = None, limit: int | None = None) -> pd.DataFrame:
    """One row a query, in order: the view `queries`, of one run or all, the first `limit` of them or all.

    `step` is missing for external queries, `score` where the service told none; `answer` is bytes in the call's codec.
    """
    # calls come by their index and the rows of one in order; sorting by query too would read all to give the first few
    where = "" if run is None else "WHERE run = :run"
    sql = f"SELECT * FROM queries {where} ORDER BY run, call LIMIT :limit"
    dtype = {"step": "Int64", "score": "float64"}
    return _frame(path, sql, dtype, run=run, limit=-1 if limit is None else limit)


def steps(path: Path, run: int) -> pd.DataFrame:
    """One row a step of `run`, by number: purpose, what the searcher knew (JSON), its calls and queries."""
    sql = """
        SELECT s.number AS step, s.purpose, s.state, count(c.id) AS calls, coalesce(sum(c.queries), 0) AS queries, s.at
        FROM steps AS s LEFT JOIN calls AS c ON c.run_id = s.run_id AND c.step_id = s.id
        WHERE s.run_id = :run GROUP BY s.id ORDER BY s.number
    """
    return _frame(path, sql, {}, run=run)


def spend(path: Path) -> pd.DataFrame:
    """Calls, queries and charged queries of each run and purpose: the view `spend`."""
    return _frame(path, "SELECT * FROM spend ORDER BY run, purpose", {})


def verdicts(path: Path) -> pd.DataFrame:
    """One row a finished run: its verdict beside its model, data, seed and budget. `flagged` is a JSON list."""
    sql = f"""
        SELECT v.run_id AS run, r.model, r.data, r.seed, r.budget, {VERDICT_COLUMNS}, v.at
        FROM verdicts AS v JOIN runs AS r ON r.id = v.run_id ORDER BY v.run_id
    """
    reals = dict.fromkeys(("score", "threshold", "clean_accuracy", "cost", "api_seconds"), "float64")
    return _frame(path, sql, {"budget": "Int64", **reals})


def triggers(path: Path, run: int) -> list[TriggerRow]:
    """The triggers of `run`, by target class; empty if it is not finished or not there."""
    sql = f"SELECT {TRIGGER_COLUMNS} FROM triggers WHERE run_id = ? ORDER BY target_class"
    with reading(path) as connection:
        return [unpack_trigger(row) for row in connection.exec_driver_sql(sql, (run,))]


def result(path: Path, run: int) -> VerdictRow | None:
    """The verdict of `run`, None if it is not finished or not there."""
    sql = f"SELECT {VERDICT_COLUMNS} FROM verdicts WHERE run_id = ?"
    with reading(path) as connection:
        row = connection.exec_driver_sql(sql, (run,)).one_or_none()
        return None if row is None else unpack_verdict(row)


def _frame(path: Path, sql: str, dtype: dict[str, str], **values: int | None) -> pd.DataFrame:
    named = {name: value for name, value in values.items() if value is not None}
    statement = text(sql).bindparams(*(bindparam(name, value) for name, value in named.items()))
    with reading(path) as connection:  # not by pandas: its errors would hide the driver's
        found = connection.execute(statement)
        return pd.DataFrame(found.fetchall(), columns=list(found.keys())).astype(dtype)
