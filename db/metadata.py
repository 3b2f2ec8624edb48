"""What the tables of the schema share."""

from __future__ import annotations

from sqlalchemy import INTEGER, Column, MetaData, text

metadata = MetaData()


def seal_column() -> Column[int]:
    """A row's checksum, see `db.seal`. Rows written by other programs have a wrong one, which `db check` reports."""
    return Column("seal", INTEGER, nullable=False, server_default=text("0"))
