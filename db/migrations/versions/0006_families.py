"""Triggers are of any family: a patch keeps mask and pattern, every other family has its parameters as JSON.

Every trigger from before is a patch, whose strength is its mask size. Written out, as in 0001 and 0003. SQLite adds no
check to a table, so it is created anew under its own name.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_BEFORE = (
    "run_id, target_class, channels, height, width, mask, pattern, mask_size, success_rate, successes, trials, censored"
)
_SEALED = (
    "run_id, target_class, family, channels, height, width, mask, pattern, parameters, mask_size, strength, unit,"
    " success_rate, successes, trials, censored"
)
_PAGE_ROWS = 32

STATEMENTS = (
    "ALTER TABLE triggers RENAME TO triggers_0005",
    """
CREATE TABLE triggers (
    id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    target_class INTEGER NOT NULL,
    family TEXT NOT NULL,
    channels INTEGER NOT NULL,
    height INTEGER NOT NULL,
    width INTEGER NOT NULL,
    mask BLOB,
    pattern BLOB,
    parameters TEXT,
    mask_size REAL NOT NULL,
    strength REAL NOT NULL,
    unit TEXT NOT NULL,
    success_rate REAL,
    successes INTEGER NOT NULL,
    trials INTEGER NOT NULL,
    censored INTEGER NOT NULL,
    seal INTEGER DEFAULT 0 NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT one_trigger_a_class UNIQUE (run_id, target_class),
    CONSTRAINT class_not_negative CHECK (target_class >= 0),
    CONSTRAINT shape_positive CHECK (channels > 0 AND height > 0 AND width > 0),
    CONSTRAINT family_and_unit_named CHECK (length(family) > 0 AND length(unit) > 0),
    CONSTRAINT mask_of_a_patch CHECK ((mask IS NULL) = (family <> 'patch')),
    CONSTRAINT pattern_of_a_patch CHECK ((pattern IS NULL) = (family <> 'patch')),
    CONSTRAINT parameters_of_others CHECK ((parameters IS NULL) = (family = 'patch')),
    CONSTRAINT parameters_are_object CHECK (
        parameters IS NULL OR (json_valid(parameters) AND json_type(parameters) = 'object')
    ),
    CONSTRAINT strength_not_negative CHECK (strength >= 0),
    CONSTRAINT mask_is_float32 CHECK (length(mask) = 4 * height * width),
    CONSTRAINT pattern_is_float32 CHECK (length(pattern) = 4 * channels * height * width),
    CONSTRAINT mask_size_not_negative CHECK (mask_size >= 0),
    CONSTRAINT success_rate_is_share CHECK (success_rate IS NULL OR success_rate BETWEEN 0 AND 1),
    CONSTRAINT successes_within_trials CHECK (successes BETWEEN 0 AND trials),
    CONSTRAINT censored_is_bool CHECK (censored IN (0, 1)),
    FOREIGN KEY(run_id) REFERENCES runs (id)
)
 STRICT
    """,
    f"INSERT INTO triggers (id, {_BEFORE}, seal, family, strength, unit)"
    f" SELECT id, {_BEFORE}, seal, 'patch', mask_size, 'pixels' FROM triggers_0005",
    "DROP TABLE triggers_0005",
)


def upgrade() -> None:
    whole = [run for run, *values, seal in _rows(f"{_BEFORE}, seal") if _sum(values) == seal]
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
    _seal_anew(set(whole))


def _seal_anew(whole: set[int]) -> None:
    """Seal the rows that were whole; a damaged one keeps its seal, so that `simkit db check` still says so."""
    for row, *values in _rows(_SEALED):
        if row in whole:
            op.get_bind().exec_driver_sql("UPDATE triggers SET seal = ? WHERE id = ?", (_sum(values), row))


def _rows(columns: str) -> Iterator[Sequence[Any]]:
    """The id and these columns of every trigger, a few in memory at a time."""
    last = -1
    while True:
        sql = f"SELECT id, {columns} FROM triggers WHERE id > {last} ORDER BY id LIMIT {_PAGE_ROWS}"
        rows = op.get_bind().exec_driver_sql(sql).all()
        if not rows:
            return
        last = rows[-1][0]
        yield from rows


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
    if isinstance(value, bytes):
        return b"b%d:" % len(value) + value
    return b"i%d;" % value
