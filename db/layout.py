"""Refuses a ledger whose tables, views or triggers are not those of its schema, before a row is read or written.

A trigger would write on its own when a scan stores an answer, and a changed view would give wrong counts. Tables that
simkit does not know are allowed, since nothing here reads or writes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from sqlalchemy import Connection

from db.errors import StorageError
from db.tables import SCHEMA, schema

_SHOWN = 60
"""A name out of a ledger is printed up to this many characters."""


def refuse_changes(connection: Connection, path: Path) -> None:
    """Raises StorageError with the first table, view, trigger or index that the schema of the file's version has
    otherwise or not at all."""
    version = int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
    if not 1 <= version <= SCHEMA:
        raise StorageError(f"{path}: schema {version} is none that simkit wrote; restore the file from a copy")
    for change in _changes(connection, version):
        raise StorageError(f"{path}: schema: {change}; use another file, or restore this one from a copy")


def _changes(connection: Connection, version: int) -> Iterator[str]:
    """One phrase per object of the file that differs from the schema of this version."""
    made = _made(version)
    # an empty text belongs to the index of a constraint, which SQLite makes itself
    sql = "SELECT type, name, sql, rootpage FROM sqlite_master WHERE coalesce(sql, '') <> ''"
    found: dict[str, str] = {}
    for kind, name, text, page in connection.exec_driver_sql(sql):
        text = " ".join(str(text).split())
        # SQLite acts on the text, whatever the other columns say; a virtual table has no page
        plain = kind == "table" and text.startswith("CREATE TABLE ") and page > 0
        if name in made:
            found[name] = text
        elif not plain:
            yield f"the {'virtual table' if kind == 'table' else kind} {_name(name)} is not of simkit"
    for name, text in made.items():
        if name not in found:
            yield f"{name} is missing"
        elif found[name] != text:
            yield f"{name} differs from the schema of version {version}"


@cache
def _made(version: int) -> dict[str, str]:
    if version == SCHEMA:
        return schema()
    from db.migrations import schema_of  # only an older file needs alembic

    return schema_of(version)


def _name(name: object) -> str:
    return ascii(str(name)[:_SHOWN])
