"""Seals: a checksum of all values in a row, which detects damage inside a value that SQLite's own checks miss."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from db.tables import metadata

_UNSEALED = {"seal", "id", "state"}
"""Columns set by SQLite at insertion, or changed later (`state` of a run, which follows from its verdict)."""


def _sealed(table: str) -> tuple[str, ...]:
    kept = {"id", "state"} if table == "steps" else set()
    return tuple(c.name for c in metadata.tables[table].columns if c.name not in _UNSEALED - kept)


SEALED = {name: _sealed(name) for name in metadata.tables if "seal" in metadata.tables[name].columns}
"""The columns that a row's seal covers, by table and in order. Migration 0003 has a copy of this and of `seal`."""


def seal(values: Iterable[object]) -> int:
    """CRC-32 of the values of a row's SEALED columns, as SQLite returns them."""
    total = 0
    for value in values:
        total = zlib.crc32(_form(value), total)
    return total


def insertion(table: str, **fixed: str) -> str:
    """The SQL that inserts a row of `table`: its SEALED columns, then the seal. fixed: SQL values of other columns."""
    columns = (*SEALED[table], "seal")
    marks = ["?"] * len(columns)
    return f"INSERT INTO {table} ({', '.join((*columns, *fixed))}) VALUES ({', '.join((*marks, *fixed.values()))})"


def selection(table: str, where: str = "") -> str:
    """The SQL that selects what `broken` takes: the rowid, the SEALED columns and the seal."""
    return f"SELECT rowid, {', '.join((*SEALED[table], 'seal'))} FROM {table} {where}"


def broken(rows: Iterable[Sequence[Any]]) -> Iterator[int]:
    """The rowids of rows whose seal does not match their values."""
    return (row[0] for row in rows if seal(row[1:-1]) != row[-1])


def _form(value: object) -> bytes:
    """Bytes that are unique to the value. SQLite returns NaN as NULL and -0.0 as 0.0."""
    if value is None or value != value:
        return b"n"
    if isinstance(value, float):
        return b"f" + struct.pack("<d", value + 0.0)
    if isinstance(value, str):
        data = value.encode(errors="surrogatepass")
        return b"s%d:" % len(data) + data
    if isinstance(value, bytes):
        return b"b%d:" % len(value) + value
    if isinstance(value, int):
        return b"i%d;" % value
    raise TypeError(f"SQLite cannot store a {type(value).__name__}")
