"""Verdicts have the rule's own limit beside the threshold of the score, and what a clean one rules out.

In rows from before, `rule_limit` is NULL, and `threshold` is what `rule_limit` is since: the rule's setting, which is
not comparable with every rule's score. They are not rewritten, only sealed anew with the two columns.

Written out, as in 0001 and 0003. SQLite adds no check to a table, so it is created anew under its own name.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Any

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_KEPT = (
    "run_id, verdict, stopped, flagged, score, rule, threshold, threshold_source, spent, refused, seconds, cost,"
    " api_seconds, clean_accuracy, notes, at, seal"
)
_SEALED = (
    "run_id, verdict, stopped, flagged, score, rule, threshold, rule_limit, threshold_source, ruled_out, spent,"
    " refused, seconds, cost, api_seconds, clean_accuracy, notes, at"
)

STATEMENTS = (
    "ALTER TABLE verdicts RENAME TO verdicts_0004",
    """
CREATE TABLE verdicts (
    run_id INTEGER NOT NULL,
    verdict TEXT NOT NULL,
    stopped TEXT NOT NULL,
    flagged TEXT NOT NULL,
    score REAL,
    rule TEXT NOT NULL,
    threshold REAL,
    rule_limit REAL,
    threshold_source TEXT NOT NULL,
    ruled_out TEXT,
    spent INTEGER NOT NULL,
    refused INTEGER NOT NULL,
    seconds REAL NOT NULL,
    cost REAL,
    api_seconds REAL,
    clean_accuracy REAL,
    notes TEXT NOT NULL,
    at REAL NOT NULL,
    seal INTEGER DEFAULT 0 NOT NULL,
    PRIMARY KEY (run_id),
    CONSTRAINT verdict_known CHECK (verdict IN ('backdoored', 'clean', 'undecided', 'invalid')),
    CONSTRAINT stopped_known CHECK (stopped IN ('decided', 'budget', 'converged', 'refused')),
    CONSTRAINT flagged_is_list CHECK (json_valid(flagged) AND json_type(flagged) = 'array'),
    CONSTRAINT ruled_out_is_list CHECK (
        ruled_out IS NULL OR (json_valid(ruled_out) AND json_type(ruled_out) = 'array')
    ),
    CONSTRAINT queries_not_negative CHECK (spent >= 0 AND refused >= 0),
    CONSTRAINT seconds_not_negative CHECK (seconds >= 0),
    CONSTRAINT cost_not_negative CHECK (cost IS NULL OR cost >= 0),
    CONSTRAINT api_seconds_not_negative CHECK (api_seconds IS NULL OR api_seconds >= 0),
    CONSTRAINT accuracy_is_share CHECK (clean_accuracy IS NULL OR clean_accuracy BETWEEN 0 AND 1),
    FOREIGN KEY(run_id) REFERENCES runs (id)
)
 STRICT
    """,
    f"INSERT INTO verdicts ({_KEPT}) SELECT {_KEPT} FROM verdicts_0004",
    "DROP TABLE verdicts_0004",
)


def upgrade() -> None:
    damaged = set(_damaged())
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
    rows = op.get_bind().exec_driver_sql(f"SELECT {_SEALED} FROM verdicts").all()
    sealed = [(_sum(row), row[0]) for row in rows if row[0] not in damaged]
    if sealed:
        op.get_bind().exec_driver_sql("UPDATE verdicts SET seal = ? WHERE run_id = ?", sealed)


def _damaged() -> list[int]:
    """The rows whose seal does not fit: they keep it, so that `simkit db check` still says so."""
    rows = op.get_bind().exec_driver_sql(f"SELECT {_KEPT} FROM verdicts").all()
    return [row[0] for row in rows if _sum(row[:-1]) != row[-1]]


def _sum(values: Sequence[Any]) -> int:
    total = 0
    for value in values:
        total = zlib.crc32(_form(value), total)
    return total


def _form(value: Any) -> bytes:
    if value is None:
        return b"n"
    if isinstance(value, float):
        return b"f" + struct.pack("<d", value)
    if isinstance(value, str):
        data = value.encode(errors="surrogatepass")
        return b"s%d:" % len(data) + data
    return b"i%d;" % value
