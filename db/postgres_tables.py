"""The tables of a service whose replicas share a PostgreSQL database, all in its schema `simkit`.

They hold what a ledger holds of a service. What a ledger spreads over several tables beside a call is in the call's row
here, so that one insertion commits it.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    Double,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.schema import CreateSchema

SCHEMA = "simkit"

metadata = MetaData(schema=SCHEMA)

_VERSION = 1
_LOCK = 0x534D4B4C
"""Of PostgreSQL's advisory locks: replicas that start together make the tables one after the other."""

meta = Table("meta", metadata, Column("version", BigInteger, nullable=False))

callers = Table(
    "callers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("spent", BigInteger, nullable=False, server_default=text("0")),
    CheckConstraint("spent >= 0", name="spent_not_negative"),
)
"""One row for each API key. `spent` is the sum of `charged` over its calls."""

runs = Table(
    "runs",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("caller", Text, ForeignKey(callers.c.id), nullable=False, index=True),
    *(Column(name, Text, nullable=False) for name in ("model", "model_hash", "data", "data_hash", "oracle", "config")),
    Column("seed", BigInteger, nullable=False),
    Column("environment", Text, nullable=False),
    Column("calls", BigInteger, nullable=False, server_default=text("0")),
    Column("queries", BigInteger, nullable=False, server_default=text("0")),
    Column("at", Double, nullable=False),
)
"""`calls` and `queries` are the ordinals of the next call and its first query."""

calls = Table(
    "calls",
    metadata,
    Column("run_id", BigInteger, ForeignKey(runs.c.id), primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("first", BigInteger, nullable=False),
    Column("queries", BigInteger, nullable=False),
    Column("charged", BigInteger, nullable=False),
    Column("codec", Text, nullable=False),
    Column("rows", Text, nullable=False),
    Column("answers", LargeBinary, nullable=False),
    Column("idempotency", Text),
    Column("digest", Text),
    Column("fingerprints", LargeBinary),
    Column("hashes", Text),
    Column("at", Double, nullable=False),
    UniqueConstraint("run_id", "first", name="ordinals_once"),
    UniqueConstraint("run_id", "idempotency", name="idempotency_key_once"),
    CheckConstraint("queries > 0 AND charged BETWEEN 0 AND queries", name="charged_within_queries"),
    Index("calls_by_time", "run_id", "at"),
)

pictures = Table(
    "pictures",
    metadata,
    Column("sha256", Text, primary_key=True),
    Column("codec", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

refusals = Table(
    "refusals",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("run_id", BigInteger, ForeignKey(runs.c.id), nullable=False),
    Column("queries", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Double, nullable=False),
    Index("refusals_by_time", "run_id", "at"),
)

alarms = Table(
    "alarms",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("run_id", BigInteger, ForeignKey(runs.c.id), nullable=False, index=True),
    Column("detector", Text, nullable=False),
    Column("score", Double, nullable=False),
    Column("first", BigInteger, nullable=False),
    Column("queries", BigInteger, nullable=False),
    Column("action", Text, nullable=False),
    Column("at", Double, nullable=False),
)


def prepare(connection: Connection) -> int:
    """Make the tables where there are none, inside the connection's transaction. Returns their version, now and in
    this simkit the same unless another one made them."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    connection.execute(CreateSchema(SCHEMA, if_not_exists=True))
    metadata.create_all(connection)
    version = connection.execute(meta.select()).scalar()
    if version is None:
        connection.execute(meta.insert(), {"version": _VERSION})
    return _VERSION if version is None else int(version)


def is_known(version: int) -> bool:
    """Whether this simkit reads and writes tables of this version."""
    return version == _VERSION
