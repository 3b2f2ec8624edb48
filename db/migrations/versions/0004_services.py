"""What a provider keeps of calls that travelled over a network, and what a caller sent: six tables more.

Written out, as in 0001.
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
CREATE TABLE deliveries (
    id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    call_number INTEGER NOT NULL,
    idempotency TEXT NOT NULL,
    digest TEXT NOT NULL,
    at REAL NOT NULL,
    seal INTEGER DEFAULT 0 NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT idempotency_key_once UNIQUE (run_id, idempotency),
    CONSTRAINT one_delivery_a_call UNIQUE (run_id, call_number),
    CONSTRAINT call_of_run FOREIGN KEY(run_id, call_number) REFERENCES calls (run_id, number),
    CONSTRAINT idempotency_key_given CHECK (length(idempotency) > 0),
    CONSTRAINT digest_is_sha256 CHECK (length(digest) = 64 AND digest NOT GLOB '*[^0-9a-f]*')
)
 STRICT
    """,
    """
CREATE TABLE fingerprints (
    id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    call_number INTEGER NOT NULL,
    data BLOB NOT NULL,
    seal INTEGER DEFAULT 0 NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT fingerprints_once_a_call UNIQUE (run_id, call_number),
    CONSTRAINT call_of_run FOREIGN KEY(run_id, call_number) REFERENCES calls (run_id, number),
    CONSTRAINT data_is_float32 CHECK (length(data) > 0 AND length(data) % 4 = 0)
)
 STRICT
    """,
    """
CREATE TABLE asked (
    id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    call_number INTEGER NOT NULL,
    hashes TEXT NOT NULL,
    seal INTEGER DEFAULT 0 NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT asked_once_a_call UNIQUE (run_id, call_number),
    CONSTRAINT call_of_run FOREIGN KEY(run_id, call_number) REFERENCES calls (run_id, number),
    CONSTRAINT hashes_are_list CHECK (json_valid(hashes) AND json_type(hashes) = 'array')
)
 STRICT
    """,
    """
CREATE TABLE pictures (
    sha256 TEXT NOT NULL,
    codec TEXT NOT NULL,
    data BLOB NOT NULL,
    seal INTEGER DEFAULT 0 NOT NULL,
    PRIMARY KEY (sha256),
    CONSTRAINT sha256_is_hex CHECK (length(sha256) = 64 AND sha256 NOT GLOB '*[^0-9a-f]*'),
    CONSTRAINT picture_given CHECK (length(codec) > 0 AND length(data) > 0)
)
 STRICT
    """,
    """
CREATE TABLE attempts (
    id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    first INTEGER NOT NULL,
    queries INTEGER NOT NULL,
    idempotency TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    status INTEGER,
    charged INTEGER,
    at REAL NOT NULL,
    seal INTEGER DEFAULT 0 NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT outcome_once UNIQUE (run_id, idempotency, attempt, outcome),
    CONSTRAINT numbers_in_range CHECK (first >= 0 AND queries > 0 AND attempt >= 1),
    CONSTRAINT idempotency_key_given CHECK (length(idempotency) > 0),
    CONSTRAINT outcome_known CHECK (outcome IN ('sent', 'answered', 'refused', 'lost', 'failed')),
    CONSTRAINT no_reply_yet CHECK (outcome <> 'sent' OR (status IS NULL AND charged IS NULL)),
    CONSTRAINT status_of_http CHECK (status IS NULL OR status BETWEEN 100 AND 999),
    CONSTRAINT charged_not_negative CHECK (charged IS NULL OR charged >= 0),
    FOREIGN KEY(run_id) REFERENCES runs (id)
)
 STRICT
    """,
    """
CREATE TABLE alarms (
    id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    detector TEXT NOT NULL,
    score REAL NOT NULL,
    first INTEGER NOT NULL,
    queries INTEGER NOT NULL,
    action TEXT NOT NULL,
    at REAL NOT NULL,
    seal INTEGER DEFAULT 0 NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT detector_and_action_named CHECK (length(detector) > 0 AND length(action) > 0),
    CONSTRAINT numbers_in_range CHECK (first >= 0 AND queries > 0),
    FOREIGN KEY(run_id) REFERENCES runs (id)
)
 STRICT
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
