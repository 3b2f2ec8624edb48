"""Verdicts have a cost and a simulated API time, and a scan may end because the service refused it.

Written out, as in 0001. SQLite cannot change a check, so the table is created anew under its own name.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_KEPT = (
    "run_id, verdict, stopped, flagged, score, rule, threshold, threshold_source, spent, refused, seconds,"
    " clean_accuracy, notes, at"
)

STATEMENTS = (
    "ALTER TABLE verdicts RENAME TO verdicts_0001",
    """
CREATE TABLE verdicts (
    run_id INTEGER NOT NULL,
    verdict TEXT NOT NULL,
    stopped TEXT NOT NULL,
    flagged TEXT NOT NULL,
    score REAL,
    rule TEXT NOT NULL,
    threshold REAL,
    threshold_source TEXT NOT NULL,
    spent INTEGER NOT NULL,
    refused INTEGER NOT NULL,
    seconds REAL NOT NULL,
    cost REAL,
    api_seconds REAL,
    clean_accuracy REAL,
    notes TEXT NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (run_id),
    CONSTRAINT verdict_known CHECK (verdict IN ('backdoored', 'clean', 'undecided', 'invalid')),
    CONSTRAINT stopped_known CHECK (stopped IN ('decided', 'budget', 'converged', 'refused')),
    CONSTRAINT flagged_is_list CHECK (json_valid(flagged) AND json_type(flagged) = 'array'),
    CONSTRAINT queries_not_negative CHECK (spent >= 0 AND refused >= 0),
    CONSTRAINT seconds_not_negative CHECK (seconds >= 0),
    CONSTRAINT cost_not_negative CHECK (cost IS NULL OR cost >= 0),
    CONSTRAINT api_seconds_not_negative CHECK (api_seconds IS NULL OR api_seconds >= 0),
    CONSTRAINT accuracy_is_share CHECK (clean_accuracy IS NULL OR clean_accuracy BETWEEN 0 AND 1),
    FOREIGN KEY(run_id) REFERENCES runs (id)
)
 STRICT
    """,
    f"INSERT INTO verdicts ({_KEPT}) SELECT {_KEPT} FROM verdicts_0001",
    "DROP TABLE verdicts_0001",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
