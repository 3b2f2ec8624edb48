"""Exports a ledger to Parquet: one row per query with its unpacked answer, for pandas, DuckDB or polars."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pyarrow import parquet  # type: ignore[import-untyped]
from sqlalchemy import Connection

from db.columns import QUERY_SCHEMA, query_table, record_table
from db.engine import identify, reading
from db.errors import StorageError, UnknownRun, translated
from db.pages import pages
from db.tables import metadata

MANIFEST = "manifest.json"
_REPEATED = ["purpose", "image", "candidate", "label", "codec"]
"""Columns with few distinct values, which a dictionary encoding makes smaller."""

RECORDS = tuple(table.name for table in metadata.sorted_tables if table.name not in ("meta", "calls"))
"""The tables that are exported to one file each, under their own names. The table of calls becomes `queries`."""


@dataclass(frozen=True)
class Exported:
    """The contents of an export.

    schema: schema version of the ledger. queries, charged: totals over all runs; `runs` has them per run. records:
    number of rows per table.
    """

    ledger: str
    schema: int
    queries: int
    charged: int
    runs: dict[int, dict[str, int]]
    records: dict[str, int]


def export(path: Path, folder: Path, run: int | None = None) -> Exported:
    """Export the ledger at `path`, all runs or only `run`, into `folder`, which must be new or empty.

    `queries/run=N/part-0.parquet` has one row per query; `scores` are float32, one per class, or one for each of the
    `classes` in the same row. `runs`, `steps`, `verdicts`, `triggers` and `refusals` are one file each; `manifest.json`
    has the counts. Everything comes from one snapshot, is written under a temporary name, counted again there and then
    moved into place. Raises StorageError.
    """
    version = identify(path)
    with reading(path) as connection, _built(folder) as building:
        expected = _counts(connection, run)
        if run is not None and not expected:
            raise UnknownRun(f"{path}: no run {run}; `simkit db runs` lists them")
        for number in expected:
            _write_queries(_tables(path, connection, number), building / "queries" / f"run={number}")
        records = {name: _write_records(connection, name, run, building) for name in RECORDS}
        written = {number: _count(building / "queries" / f"run={number}") for number in expected}
        if written != expected:
            raise StorageError(f"{folder}: the files hold other numbers of queries than the ledger; export again")
        queries, charged = (sum(counts[name] for counts in written.values()) for name in ("queries", "charged"))
        exported = Exported(path.name, version or 0, queries, charged, written, records)
        (building / MANIFEST).write_text(json.dumps(asdict(exported), indent=2) + "\n", encoding="utf-8")
    return exported


@contextmanager
def _built(folder: Path) -> Iterator[Path]:
    """A temporary folder that is synced and renamed to `folder` at the end, or removed after an error."""
    with translated(folder):
        folder = folder.resolve()
        building = folder.with_name(f".{folder.name}.simkit-building")
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise StorageError(f"{folder}: not empty; name a new folder")
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(building, ignore_errors=True)  # left by a killed process
        building.mkdir()
        try:
            yield building
            _sync(building)
            os.replace(building, folder)
        finally:
            shutil.rmtree(building, ignore_errors=True)


def _sync(folder: Path) -> None:
    for file in (path for path in folder.rglob("*") if path.is_file()):
        with file.open("rb") as opened:
            os.fsync(opened.fileno())


def _counts(connection: Connection, run: int | None) -> dict[int, dict[str, int]]:
    """The number of queries and of charged queries of each run, according to the ledger."""
    statement = (
        "SELECT r.id, coalesce(sum(c.queries), 0), coalesce(sum(c.charged), 0)"
        " FROM runs AS r LEFT JOIN calls AS c ON c.run_id = r.id WHERE r.id = :run OR :run IS NULL GROUP BY r.id"
    )
    rows = connection.exec_driver_sql(statement, {"run": run})
    return {number: {"queries": queries, "charged": charged} for number, queries, charged in rows}


def _tables(path: Path, connection: Connection, run: int) -> Iterator[Any]:
    with translated(path):  # the error about a damaged call names the ledger, not the folder
        for page in pages(connection, run):
            yield query_table(page)


def _write_queries(tables: Iterable[Any], folder: Path) -> None:
    """Write one file in `folder`, or none if the run has no queries."""
    writer = None
    try:
        for table in tables:
            if writer is None:
                folder.mkdir(parents=True)
                writer = parquet.ParquetWriter(
                    folder / "part-0.parquet", QUERY_SCHEMA, compression="zstd", use_dictionary=_REPEATED
                )
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()


def _write_records(connection: Connection, name: str, run: int | None, folder: Path) -> int:
    table = record_table(connection, name, run)
    parquet.write_table(table, folder / f"{name}.parquet", compression="zstd")
    return int(table.num_rows)


def _count(folder: Path) -> dict[str, int]:
    """The number of queries and of charged queries in the written files."""
    queries = charged = 0
    for file in sorted(folder.glob("*.parquet")):
        opened = parquet.ParquetFile(file)
        for batch in opened.iter_batches(columns=["charged"]):
            column: Any = batch.column(0)
            queries += len(column)
            charged += column.true_count
    return {"queries": queries, "charged": charged}
