"""Upgrades the file of a ledger to the current schema. Called from code, so alembic needs no ini file."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine

from db.tables import APPLICATION_ID, SCHEMA, VERSION_TABLE


def upgrade(connection: Connection) -> None:
    """Apply the missing migrations and stamp the file, inside the transaction of `connection`."""
    _migrate(connection, "head")
    connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA}")


def schema_of(version: int) -> dict[str, str]:
    """As `db.tables.schema`, of a file of an older version: the migrations up to it make an empty one in memory."""
    with create_engine("sqlite://").begin() as connection:
        _migrate(connection, f"{version:04d}")
        stored = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").all()
    return {name: " ".join(sql.split()) for name, sql in stored if name != VERSION_TABLE}


def _migrate(connection: Connection, revision: str) -> None:
    config = Config()
    folder = str(Path(__file__).parent)
    config.set_main_option("script_location", folder.replace("%", "%%"))  # the parser expands %
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
