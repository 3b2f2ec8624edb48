"""Copies the shared book of a service's replicas into a ledger, which every command reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, select

from db.errors import StorageError, translated
from db.ledger import Ledger
from db.postgres import PostgresBook
from db.postgres_tables import alarms, calls, pictures, refusals, runs
from db.records import checksum
from db.seal import SEALED, insertion, seal

_PAGE_ROWS = 32


@dataclass(frozen=True)
class Pulled:
    """What was copied, as numbers of rows; charged: queries."""

    runs: int
    calls: int
    charged: int
    refusals: int


def pull(url: str, into: Path) -> Pulled:
    """Copy all of a book, as it is at one moment, into a new ledger at `into`, in one transaction.

    Services go on meanwhile. Raises StorageError, and then leaves no ledger.
    """
    with translated(into):
        if into.exists():
            raise StorageError(f"{into}: is there already; give the name of a new file")
    with PostgresBook(url, make=False) as book, Ledger.open(into) as ledger:
        try:
            with ledger.transaction() as target, book.transaction() as source:
                source.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                return _copied(_Into(target, ledger.path), source)
        except BaseException:
            ledger.discard_if_empty()
            raise


@dataclass(frozen=True)
class _Into:
    """The ledger inside the transaction. Its errors name it."""

    connection: Connection
    path: Path

    def put(self, table: str, values: Mapping[str, Any], **fixed: str) -> int:
        row = tuple(values.get(name) for name in SEALED[table])
        with translated(self.path):
            return int(self.connection.exec_driver_sql(insertion(table, **fixed), (*row, seal(row))).lastrowid)


def _copied(into: _Into, source: Connection) -> Pulled:
    own = dict[int, int]()
    for row in _rows(source, runs):
        own[row["id"]] = into.put("runs", row, state="'open'")
    counts = [0, 0, 0]
    for row in _rows(source, pictures):
        into.put("pictures", row | {"data": bytes(row["data"])})
    for row in _rows(source, calls):
        _put_call(into, row | {"run_id": own[row["run_id"]]})
        counts[0], counts[1] = counts[0] + 1, counts[1] + row["charged"]
    for row in _rows(source, refusals):
        into.put("refusals", row | {"run_id": own[row["run_id"]]})
        counts[2] += 1
    for row in _rows(source, alarms):
        into.put("alarms", row | {"run_id": own[row["run_id"]]})
    return Pulled(len(own), *counts)


def _rows(source: Connection, table: Table) -> Iterable[dict[str, Any]]:
    wanted = select(table).order_by(*table.primary_key.columns)
    for row in source.execution_options(yield_per=_PAGE_ROWS).execute(wanted).mappings():
        yield dict(row)


def _put_call(into: _Into, row: dict[str, Any]) -> None:
    answers, run, number = bytes(row["answers"]), row["run_id"], row["number"]
    into.put("calls", row | {"answers": answers, "crc32": checksum(row["codec"], row["rows"], answers)})
    beside = {"run_id": run, "call_number": number}
    if row["idempotency"] is not None:
        into.put("deliveries", row | beside)
    if row["fingerprints"] is not None:
        into.put("fingerprints", beside | {"data": bytes(row["fingerprints"])})
    if row["hashes"] is not None:
        into.put("asked", beside | {"hashes": json.dumps(json.loads(row["hashes"]))})
