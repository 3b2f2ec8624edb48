"""A ledger as Parquet: every query with its answer unpacked, for whatever reads columns (pandas, DuckDB, polars)."""

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
"""Columns of few distinct values; a dictionary of the others would only be built and thrown away."""

RECORDS = tuple(table.name for table in metadata.sorted_tables if table.name not in ("meta", "calls"))
"""The tables that become a file each, under their own names; the calls become the queries."""


@dataclass(frozen=True)
class Exported:
    """What an export holds. schema: of the ledger. queries, charged: in all; runs: of each. records: rows a table."""

    ledger: str
    schema: int
    queries: int
    charged: int
    runs: dict[int, dict[str, int]]
    records: dict[str, int]


def export(path: Path, folder: Path, run: int | None = None) -> Exported:
    """Write the ledger at `path`, of `run` alone or of all runs, into `folder`, which is new or empty.

    `queries/run=N/part-0.parquet` has one row a query; `scores` are float32, of every class, or of the `classes` beside
    them. `runs`, `steps`, `verdicts`, `triggers` and `refusals` are a file each; `manifest.json` counts. All of one
    snapshot, written under another name, counted again there, and moved into place whole. Raises StorageError.
    """
    version = identify(path)
    with reading(path) as connection, _built(folder) as building:
        expected = _counts(connection, run)
        if run is not None and not expected:
            raise UnknownRun(f"{path}: no run {run}; `simkit db runs` lists them")
        for number in expected:
            _write_queries(_tables(path, connection, number), building / "queries" / f"run={number}")
        records = {name: _write_records(connection, name, run, building) for name in RECORDS}
        found = {number: _count(building / "queries" / f"run={number}") for number in expected}
        if found != expected:
            raise StorageError(f"{folder}: the files do not hold what the ledger counts; export again")
        queries, charged = (sum(counts[name] for counts in found.values()) for name in ("queries", "charged"))
        exported = Exported(path.name, version or 0, queries, charged, found, records)
        (building / MANIFEST).write_text(json.dumps(asdict(exported), indent=2) + "\n", encoding="utf-8")
    return exported


@contextmanager
def _built(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` that becomes it at the end, on the disk and whole, or is gone."""
    with translated(folder):
        folder = folder.resolve()
        building = folder.with_name(f".{folder.name}.simkit-building")
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise StorageError(f"{folder}: not empty; name a new folder")
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(building, ignore_errors=True)  # what a kill left
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
    """The queries and the charged ones of each run, as the ledger counts them."""
    statement = (
        "SELECT r.id, coalesce(sum(c.queries), 0), coalesce(sum(c.charged), 0)"
        " FROM runs AS r LEFT JOIN calls AS c ON c.run_id = r.id WHERE r.id = :run OR :run IS NULL GROUP BY r.id"
    )
    found = connection.exec_driver_sql(statement, {"run": run})
    return {number: {"queries": queries, "charged": charged} for number, queries, charged in found}


def _tables(path: Path, connection: Connection, run: int) -> Iterator[Any]:
    with translated(path):  # a damaged call is the ledger's fault, not the folder's
        for page in pages(connection, run):
            yield query_table(page)


def _write_queries(tables: Iterable[Any], folder: Path) -> None:
    """One file in `folder`, or none where the run has no queries."""
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
    """The queries and the charged ones in the files themselves."""
    queries = charged = 0
    for file in sorted(folder.glob("*.parquet")):
        opened = parquet.ParquetFile(file)
        for batch in opened.iter_batches(columns=["charged"]):
            column: Any = batch.column(0)
            queries += len(column)
            charged += column.true_count
    return {"queries": queries, "charged": charged}
