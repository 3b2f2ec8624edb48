"""Alembic's environment: it uses the connection that it was given, in the caller's transaction."""

from __future__ import annotations

from alembic import context

from db.tables import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    transactional_ddl=True,  # SQLite's DDL rolls back: a failed upgrade leaves the file as it was
)
context.run_migrations()
