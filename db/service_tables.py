"""The tables of runs whose calls travelled over a network: what the provider kept of them, and what the caller sent.

They are part of the schema in `db.tables`.
"""

from __future__ import annotations

from sqlalchemy import (
    BLOB,
    INTEGER,
    REAL,
    TEXT,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Table,
    UniqueConstraint,
)

from db.metadata import metadata, seal_column


def _of_call() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["run_id", "call_number"], ["calls.run_id", "calls.number"], name="call_of_run")


deliveries = Table(
    "deliveries",
    metadata,
    Column("id", INTEGER, primary_key=True),
    Column("run_id", INTEGER, nullable=False),
    Column("call_number", INTEGER, nullable=False),
    Column("idempotency", TEXT, nullable=False),
    Column("digest", TEXT, nullable=False),
    Column("at", REAL, nullable=False),
    seal_column(),
    UniqueConstraint("run_id", "idempotency", name="idempotency_key_once"),
    UniqueConstraint("run_id", "call_number", name="one_delivery_a_call"),
    _of_call(),
    CheckConstraint("length(idempotency) > 0", name="idempotency_key_given"),
    CheckConstraint("length(digest) = 64 AND digest NOT GLOB '*[^0-9a-f]*'", name="digest_is_sha256"),
    sqlite_strict=True,
)

fingerprints = Table(
    "fingerprints",
    metadata,
    Column("id", INTEGER, primary_key=True),
    Column("run_id", INTEGER, nullable=False),
    Column("call_number", INTEGER, nullable=False),
    Column("data", BLOB, nullable=False),
    seal_column(),
    UniqueConstraint("run_id", "call_number", name="fingerprints_once_a_call"),
    _of_call(),
    CheckConstraint("length(data) > 0 AND length(data) % 4 = 0", name="data_is_float32"),
    sqlite_strict=True,
)

asked = Table(
    "asked",
    metadata,
    Column("id", INTEGER, primary_key=True),
    Column("run_id", INTEGER, nullable=False),
    Column("call_number", INTEGER, nullable=False),
    Column("hashes", TEXT, nullable=False),
    seal_column(),
    UniqueConstraint("run_id", "call_number", name="asked_once_a_call"),
    _of_call(),
    CheckConstraint("json_valid(hashes) AND json_type(hashes) = 'array'", name="hashes_are_list"),
    sqlite_strict=True,
)

pictures = Table(
    "pictures",
    metadata,
    Column("sha256", TEXT, primary_key=True, nullable=False),
    Column("codec", TEXT, nullable=False),
    Column("data", BLOB, nullable=False),
    seal_column(),
    CheckConstraint("length(sha256) = 64 AND sha256 NOT GLOB '*[^0-9a-f]*'", name="sha256_is_hex"),
    CheckConstraint("length(codec) > 0 AND length(data) > 0", name="picture_given"),
    sqlite_strict=True,
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", INTEGER, primary_key=True),
    Column("run_id", INTEGER, ForeignKey("runs.id"), nullable=False),
    Column("first", INTEGER, nullable=False),
    Column("queries", INTEGER, nullable=False),
    Column("idempotency", TEXT, nullable=False),
    Column("attempt", INTEGER, nullable=False),
    Column("outcome", TEXT, nullable=False),
    Column("status", INTEGER),
    Column("charged", INTEGER),
    Column("at", REAL, nullable=False),
    seal_column(),
    UniqueConstraint("run_id", "idempotency", "attempt", "outcome", name="outcome_once"),
    CheckConstraint("first >= 0 AND queries > 0 AND attempt >= 1", name="numbers_in_range"),
    CheckConstraint("length(idempotency) > 0", name="idempotency_key_given"),
    CheckConstraint("outcome IN ('sent', 'answered', 'refused', 'lost', 'failed')", name="outcome_known"),
    CheckConstraint("outcome <> 'sent' OR (status IS NULL AND charged IS NULL)", name="no_reply_yet"),
    CheckConstraint("status IS NULL OR status BETWEEN 100 AND 999", name="status_of_http"),
    CheckConstraint("charged IS NULL OR charged >= 0", name="charged_not_negative"),
    sqlite_strict=True,
)

alarms = Table(
    "alarms",
    metadata,
    Column("id", INTEGER, primary_key=True),
    Column("run_id", INTEGER, ForeignKey("runs.id"), nullable=False),
    Column("detector", TEXT, nullable=False),
    Column("score", REAL, nullable=False),
    Column("first", INTEGER, nullable=False),
    Column("queries", INTEGER, nullable=False),
    Column("action", TEXT, nullable=False),
    Column("at", REAL, nullable=False),
    seal_column(),
    CheckConstraint("length(detector) > 0 AND length(action) > 0", name="detector_and_action_named"),
    CheckConstraint("first >= 0 AND queries > 0", name="numbers_in_range"),
    sqlite_strict=True,
)
