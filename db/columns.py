"""Arrow tables of a ledger's contents: calls as one row per query, and the small tables unchanged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
from pyarrow import csv
from sqlalchemy import Connection

from db.engine import columns_of
from db.pages import Page
from db.tables import metadata
from db.unpack import unpack

QUERY_SCHEMA = pa.schema(
    [
        *(("query", pa.int64()), ("call", pa.int64()), ("step", pa.int64())),
        ("purpose", pa.dictionary(pa.int32(), pa.string())),
        *(("image", pa.int32()), ("candidate", pa.int32()), ("label", pa.int32()), ("score", pa.float32())),
        ("charged", pa.bool_()),
        ("codec", pa.dictionary(pa.int32(), pa.string())),
        *(("classes", pa.list_(pa.int32())), ("scores", pa.list_(pa.float32()))),
    ]
)
"""The view `queries` with unpacked answers: `scores` of the classes in `classes`, or of all classes if that is
missing."""

_ARROW = {"INTEGER": pa.int64(), "REAL": pa.float64(), "TEXT": pa.string(), "BLOB": pa.list_(pa.float32())}
"""Arrow types by the SQL type of a column. Outside the calls, BLOBs are masks, patterns and fingerprints in float32."""

_COMPRESSED = {("pictures", "data"): pa.binary()}
"""The type of the BLOBs that are not float32."""

_PACKED = {"image": pa.int32(), "candidate": pa.int32(), "label": pa.int32(), "score": pa.float32()}


def query_table(page: Page) -> pa.Table:
    """One row per query, by QUERY_SCHEMA. Raises ValueError on malformed rows or answers."""
    queries = len(page)
    columns_of_rows, unpacked = _packed(page), unpack(page.codec, page.answers)
    ordinal = np.arange(queries) - np.repeat(np.cumsum(page.queries) - page.queries, page.queries)
    step = np.repeat(page.step, page.queries)
    columns = {
        "query": np.repeat(page.first, page.queries) + ordinal,
        "call": np.repeat(page.call, page.queries),
        "step": pa.array(step, mask=step < 0),
        "purpose": _repeated(page.purposes, page.queries),
        **{name: columns_of_rows[name] for name in _PACKED},
        "charged": ordinal < np.repeat(page.charged, page.queries),
        "codec": pa.DictionaryArray.from_arrays(np.zeros(queries, np.int32), [page.codec]),
        "classes": _lists(unpacked.classes, queries, pa.int32()),
        "scores": _lists(unpacked.scores, queries, pa.float32()),
    }
    return pa.table(columns, schema=QUERY_SCHEMA)


def _packed(page: Page) -> pa.Table:
    """The rows of all calls at once. Without its brackets the JSON is CSV, which pyarrow reads ten times as fast."""
    text = "\n".join(rows[2:-2] for rows in page.rows).replace("],[", "\n")
    try:
        table = csv.read_csv(
            pa.py_buffer(text.encode()),
            read_options=csv.ReadOptions(column_names=list(_PACKED), use_threads=False),
            parse_options=csv.ParseOptions(quote_char=False),
            convert_options=csv.ConvertOptions(column_types=_PACKED, null_values=["null"]),
        )
    except pa.ArrowInvalid as error:
        raise ValueError(f"call {page.call[0]} and following: malformed rows ({error})") from error
    if len(table) != len(page):
        raise ValueError(f"call {page.call[0]} and following: {len(table)} rows for {len(page)} queries")
    return table


def _repeated(names: tuple[str, ...], times: Any) -> pa.DictionaryArray:
    """Each name as often as `times` says."""
    distinct = sorted(set(names))
    numbers = np.array([distinct.index(name) for name in names], dtype=np.int32)
    return pa.DictionaryArray.from_arrays(np.repeat(numbers, times), distinct)


def _lists(values: Any, rows: int, of: pa.DataType) -> pa.Array:
    """The rows of an array (rows, k) as lists; all missing if the array is None."""
    if values is None:
        return pa.nulls(rows, pa.list_(of))
    if len(values) != rows:
        raise ValueError(f"{len(values)} answers for {rows} queries: the file is damaged")
    offsets = np.arange(rows + 1, dtype=np.int32) * values.shape[1]
    return pa.ListArray.from_arrays(offsets, pa.array(values.reshape(-1), of))


def record_table(connection: Connection, name: str, run: int | None) -> pa.Table:
    """The rows of table `name`, of one run or of all; `run` is a run's id, `step` the number of a step in its run."""
    present = columns_of(connection, name)
    typed = {
        c.name: _COMPRESSED.get((name, c.name), _ARROW[str(c.type)])
        for c in metadata.tables[name].columns
        if c.name in present or not present  # a file of an older schema lacks the newest tables: no rows
    }
    selected = {column: _selected(name, column) for column in typed if column != "id" or name == "runs"}
    chosen = ", ".join(f"{column} AS {alias}" for column, alias in selected.values())
    statement = f"SELECT {chosen} FROM {name} AS t WHERE {_of_run(name)} OR :run IS NULL ORDER BY t.rowid"
    rows = connection.exec_driver_sql(statement, {"run": run}).fetchall() if present else []
    values = zip(*rows, strict=True) if rows else ((),) * len(selected)
    arrays = {
        alias: _array(column, typed[name]) for (name, (_, alias)), column in zip(selected.items(), values, strict=True)
    }
    return pa.table(arrays)


def _of_run(table: str) -> str:
    """The SQL condition for the rows of run `:run`."""
    if table == "pictures":  # images have no run, since several may have asked about the same one
        asked = "SELECT h.value FROM asked AS a, json_each(a.hashes) AS h WHERE a.run_id = :run"
        return f"t.sha256 IN ({asked})"
    return f"t.{'id' if table == 'runs' else 'run_id'} = :run"


def _selected(table: str, column: str) -> tuple[str, str]:
    """The SQL expression of a column and its name in the export."""
    if column == "step_id":
        return "(SELECT number FROM steps WHERE id = t.step_id)", "step"
    renamed = {("runs", "id"): "run", ("steps", "number"): "step", ("deliveries", "call_number"): "call"}
    renamed |= {("fingerprints", "call_number"): "call", ("asked", "call_number"): "call"}
    return f't."{column}"', "run" if column == "run_id" else renamed.get((table, column), column)


def _array(values: Any, of: pa.DataType) -> pa.Array:
    if pa.types.is_list(of):
        return pa.array([None if value is None else np.frombuffer(value, "<f4") for value in values], of)
    return pa.array(values, of)
