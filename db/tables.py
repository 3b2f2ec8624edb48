"""The current schema. `db/migrations` upgrades older files to it, and a test checks that the two agree.

Times are Unix seconds. JSON is text that `json_valid` accepts. The constraints make it impossible to write a wrong row.
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
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateTable

from db import service_tables
from db.metadata import metadata, seal_column

__all__ = ["APPLICATION_ID", "SCHEMA", "VERSION_TABLE", "metadata", "schema", "service_tables"]

SCHEMA = 6
"""The number of migrations. A file stores its own schema version in `PRAGMA user_version`."""

APPLICATION_ID = 0x534D4B4C
"""'SMKL' in `PRAGMA application_id`, which distinguishes a ledger from databases of other programs."""

VERSION_TABLE = "simkit_alembic_version"

meta = Table(
    "meta",
    metadata,
    Column("key", TEXT, primary_key=True, nullable=False),
    Column("value", TEXT, nullable=False),
    sqlite_strict=True,
)

runs = Table(
    "runs",
    metadata,
    Column("id", INTEGER, primary_key=True),
    Column("key", TEXT, nullable=False, unique=True),
    Column("model", TEXT, nullable=False),
    Column("model_hash", TEXT, nullable=False),
    Column("data", TEXT, nullable=False),
    Column("data_hash", TEXT, nullable=False),
    Column("oracle", TEXT, nullable=False),
    Column("config", TEXT, nullable=False),
    Column("seed", INTEGER, nullable=False),
    Column("budget", INTEGER),
    Column("environment", TEXT, nullable=False),
    Column("state", TEXT, nullable=False),
    Column("at", REAL, nullable=False),
    seal_column(),
    CheckConstraint("length(key) = 64 AND key NOT GLOB '*[^0-9a-f]*'", name="key_is_sha256"),
    CheckConstraint("json_valid(oracle)", name="oracle_is_json"),
    CheckConstraint("json_valid(config)", name="config_is_json"),
    CheckConstraint("json_valid(environment)", name="environment_is_json"),
    CheckConstraint("budget IS NULL OR budget >= 1", name="budget_positive"),
    CheckConstraint("state IN ('open', 'done')", name="state_known"),
    sqlite_strict=True,
)

steps = Table(
    "steps",
    metadata,
    Column("id", INTEGER, primary_key=True),
    Column("run_id", INTEGER, ForeignKey("runs.id"), nullable=False),
    Column("number", INTEGER, nullable=False),
    Column("purpose", TEXT, nullable=False),
    Column("state", TEXT, nullable=False),
    Column("at", REAL, nullable=False),
    seal_column(),
    UniqueConstraint("run_id", "number", name="step_number_once"),
    UniqueConstraint("run_id", "id", name="step_of_run"),
    CheckConstraint("number >= 0", name="number_not_negative"),
    CheckConstraint("purpose IN ('check', 'search', 'verify', 'external')", name="purpose_known"),
    CheckConstraint("json_valid(state)", name="state_is_json"),
    sqlite_strict=True,
)

calls = Table(
    "calls",
    metadata,
    Column("id", INTEGER, primary_key=True),
    Column("run_id", INTEGER, ForeignKey("runs.id"), nullable=False),
    Column("step_id", INTEGER),
    Column("number", INTEGER, nullable=False),
    Column("first", INTEGER, nullable=False),
    Column("queries", INTEGER, nullable=False),
    Column("charged", INTEGER, nullable=False),
    Column("codec", TEXT, nullable=False),
    Column("rows", TEXT, nullable=False),
    Column("answers", BLOB, nullable=False),
    Column("crc32", INTEGER, nullable=False),
    Column("at", REAL, nullable=False),
    seal_column(),
    UniqueConstraint("run_id", "number", name="call_number_once"),
    # both columns, so that a call cannot refer to a step of another run
    ForeignKeyConstraint(["run_id", "step_id"], ["steps.run_id", "steps.id"], name="call_in_step_of_run"),
    CheckConstraint("number >= 0 AND first >= 0", name="ordinals_not_negative"),
    CheckConstraint("queries > 0", name="queries_positive"),
    CheckConstraint("charged BETWEEN 0 AND queries", name="charged_within_queries"),
    CheckConstraint("length(codec) > 0", name="codec_named"),
    CheckConstraint("json_valid(rows) AND json_array_length(rows) = queries", name="one_row_a_query"),
    CheckConstraint("length(answers) > 0 AND length(answers) % queries = 0", name="one_answer_a_query"),
    sqlite_strict=True,
)

refusals = Table(
    "refusals",
    metadata,
    Column("id", INTEGER, primary_key=True),
    Column("run_id", INTEGER, ForeignKey("runs.id"), nullable=False),
    Column("step_id", INTEGER),
    Column("queries", INTEGER, nullable=False),
    Column("reason", TEXT, nullable=False),
    Column("at", REAL, nullable=False),
    seal_column(),
    ForeignKeyConstraint(["run_id", "step_id"], ["steps.run_id", "steps.id"], name="refusal_in_step_of_run"),
    CheckConstraint("queries > 0", name="queries_positive"),
    CheckConstraint("length(reason) > 0", name="reason_named"),
    sqlite_strict=True,
)

triggers = Table(
    "triggers",
    metadata,
    Column("id", INTEGER, primary_key=True),
    Column("run_id", INTEGER, ForeignKey("runs.id"), nullable=False),
    Column("target_class", INTEGER, nullable=False),
    Column("family", TEXT, nullable=False),
    Column("channels", INTEGER, nullable=False),
    Column("height", INTEGER, nullable=False),
    Column("width", INTEGER, nullable=False),
    Column("mask", BLOB),
    Column("pattern", BLOB),
    Column("parameters", TEXT),
    Column("mask_size", REAL, nullable=False),
    Column("strength", REAL, nullable=False),
    Column("unit", TEXT, nullable=False),
    Column("success_rate", REAL),
    Column("successes", INTEGER, nullable=False),
    Column("trials", INTEGER, nullable=False),
    Column("censored", INTEGER, nullable=False),
    seal_column(),
    UniqueConstraint("run_id", "target_class", name="one_trigger_a_class"),
    CheckConstraint("target_class >= 0", name="class_not_negative"),
    CheckConstraint("channels > 0 AND height > 0 AND width > 0", name="shape_positive"),
    CheckConstraint("length(family) > 0 AND length(unit) > 0", name="family_and_unit_named"),
    # three comparisons, so that a trigger has exactly one form and its family says which
    CheckConstraint("(mask IS NULL) = (family <> 'patch')", name="mask_of_a_patch"),
    CheckConstraint("(pattern IS NULL) = (family <> 'patch')", name="pattern_of_a_patch"),
    CheckConstraint("(parameters IS NULL) = (family = 'patch')", name="parameters_of_others"),
    CheckConstraint(
        " parameters IS NULL OR (json_valid(parameters) AND json_type(parameters) = 'object') ",
        name="parameters_are_object",
    ),
    CheckConstraint("strength >= 0", name="strength_not_negative"),
    CheckConstraint("length(mask) = 4 * height * width", name="mask_is_float32"),
    CheckConstraint("length(pattern) = 4 * channels * height * width", name="pattern_is_float32"),
    CheckConstraint("mask_size >= 0", name="mask_size_not_negative"),
    CheckConstraint("success_rate IS NULL OR success_rate BETWEEN 0 AND 1", name="success_rate_is_share"),
    CheckConstraint("successes BETWEEN 0 AND trials", name="successes_within_trials"),
    CheckConstraint("censored IN (0, 1)", name="censored_is_bool"),
    sqlite_strict=True,
)

verdicts = Table(
    "verdicts",
    metadata,
    Column("run_id", INTEGER, ForeignKey("runs.id"), primary_key=True),
    Column("verdict", TEXT, nullable=False),
    Column("stopped", TEXT, nullable=False),
    Column("flagged", TEXT, nullable=False),
    Column("score", REAL),
    Column("rule", TEXT, nullable=False),
    Column("threshold", REAL),
    Column("rule_limit", REAL),
    Column("threshold_source", TEXT, nullable=False),
    Column("ruled_out", TEXT),
    Column("spent", INTEGER, nullable=False),
    Column("refused", INTEGER, nullable=False),
    Column("seconds", REAL, nullable=False),
    Column("cost", REAL),
    Column("api_seconds", REAL),
    Column("clean_accuracy", REAL),
    Column("notes", TEXT, nullable=False),
    Column("at", REAL, nullable=False),
    seal_column(),
    CheckConstraint("verdict IN ('backdoored', 'clean', 'undecided', 'invalid')", name="verdict_known"),
    CheckConstraint("stopped IN ('decided', 'budget', 'converged', 'refused')", name="stopped_known"),
    CheckConstraint("json_valid(flagged) AND json_type(flagged) = 'array'", name="flagged_is_list"),
    CheckConstraint(
        " ruled_out IS NULL OR (json_valid(ruled_out) AND json_type(ruled_out) = 'array') ", name="ruled_out_is_list"
    ),
    CheckConstraint("spent >= 0 AND refused >= 0", name="queries_not_negative"),
    CheckConstraint("seconds >= 0", name="seconds_not_negative"),
    CheckConstraint("cost IS NULL OR cost >= 0", name="cost_not_negative"),
    CheckConstraint("api_seconds IS NULL OR api_seconds >= 0", name="api_seconds_not_negative"),
    CheckConstraint("clean_accuracy IS NULL OR clean_accuracy BETWEEN 0 AND 1", name="accuracy_is_share"),
    sqlite_strict=True,
)

QUERIES_VIEW = """
CREATE VIEW queries AS
SELECT
    c.run_id AS run,
    c.number AS call,
    s.number AS step,
    coalesce(s.purpose, 'external') AS purpose,
    json_extract(q.value, '$[0]') AS image,
    json_extract(q.value, '$[1]') AS candidate,
    json_extract(q.value, '$[2]') AS label,
    CAST(json_extract(q.value, '$[3]') AS REAL) AS score,
    substr(c.answers, q.key * (length(c.answers) / c.queries) + 1, length(c.answers) / c.queries) AS answer,
    q.key < c.charged AS charged,
    c.first + q.key AS query
FROM calls AS c LEFT JOIN steps AS s ON s.id = c.step_id JOIN json_each(c.rows) AS q
"""
"""One row per query. `answer` is one record in the call's codec; `query` counts from 0 in the run."""

SPEND_VIEW = """
CREATE VIEW spend AS
SELECT
    c.run_id AS run,
    coalesce(s.purpose, 'external') AS purpose,
    count(*) AS calls,
    sum(c.queries) AS queries,
    sum(c.charged) AS charged
FROM calls AS c LEFT JOIN steps AS s ON s.id = c.step_id
GROUP BY c.run_id, coalesce(s.purpose, 'external')
"""
"""The calls and queries of each run by purpose."""


def schema() -> dict[str, str]:
    """The SQL of every table and view by name, with single spaces, as in `sqlite_master` of an intact ledger."""
    tables = {table.name: str(CreateTable(table).compile(dialect=sqlite.dialect())) for table in metadata.sorted_tables}
    made = {**tables, "queries": QUERIES_VIEW, "spend": SPEND_VIEW}
    return {name: " ".join(sql.split()) for name, sql in made.items()}
