"""Upgrades the file of a ledger to the current schema. Called from code, so alembic needs no ini file."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from db.tables import APPLICATION_ID, SCHEMA


def upgrade(connection: Connection) -> None:
    """Apply the missing migrations and stamp the file, inside the transaction of `connection`."""
    config = Config()
    folder = str(Path(__file__).parent)
    config.set_main_option("script_location", folder.replace("%", "%%"))  # the parser expands %
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA}")
