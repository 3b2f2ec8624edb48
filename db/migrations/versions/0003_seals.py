"""Every row has a seal, a checksum of its values. Existing rows are sealed with their present values.

Written out, as in 0001: `seal` and the columns are those of `db.seal` when this was written.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Any

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

COLUMNS = {
    "runs": "key, model, model_hash, data, data_hash, oracle, config, seed, budget, environment, at",
    "steps": "id, run_id, number, purpose, state, at",
    "calls": "run_id, step_id, number, first, queries, charged, codec, rows, answers, crc32, at",
    "refusals": "run_id, step_id, queries, reason, at",
    "triggers": "run_id, target_class, channels, height, width, mask, pattern, mask_size, success_rate, successes,"
    " trials, censored",
    "verdicts": "run_id, verdict, stopped, flagged, score, rule, threshold, threshold_source, spent, refused, seconds,"
    " cost, api_seconds, clean_accuracy, notes, at",
}
_PAGE_ROWS = 32


def upgrade() -> None:
    for table, columns in COLUMNS.items():
        op.get_bind().exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN seal INTEGER DEFAULT 0 NOT NULL")
        _seal(table, columns)


def _seal(table: str, columns: str) -> None:
    connection, last = op.get_bind(), -1
    while True:
        sql = f"SELECT rowid, {columns} FROM {table} WHERE rowid > {last} ORDER BY rowid LIMIT {_PAGE_ROWS}"
        rows = connection.exec_driver_sql(sql).all()
        if not rows:
            return
        last = rows[-1][0]
        sealed = [(_sum(row[1:]), row[0]) for row in rows]
        connection.exec_driver_sql(f"UPDATE {table} SET seal = ? WHERE rowid = ?", sealed)


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
        data = value.encode()
        return b"s%d:" % len(data) + data
    if isinstance(value, bytes):
        return b"b%d:" % len(value) + value
    return b"i%d;" % value
