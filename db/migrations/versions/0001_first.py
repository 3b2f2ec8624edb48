"""The first schema: runs, steps, calls, refusals, triggers, verdicts, and the views `queries` and `spend`.

Written out instead of using `db.tables`, so that files of this version can still be upgraded when the tables change.
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

STATEMENTS = (
    """
CREATE TABLE meta (
    "key" TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY ("key")
)
 STRICT
    """,
    """
CREATE TABLE runs (
    id INTEGER NOT NULL,
    "key" TEXT NOT NULL,
    model TEXT NOT NULL,
    model_hash TEXT NOT NULL,
    data TEXT NOT NULL,
    data_hash TEXT NOT NULL,
    oracle TEXT NOT NULL,
    config TEXT NOT NULL,
    seed INTEGER NOT NULL,
    budget INTEGER,
    environment TEXT NOT NULL,
    state TEXT NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT key_is_sha256 CHECK (length(key) = 64 AND key NOT GLOB '*[^0-9a-f]*'),
    CONSTRAINT oracle_is_json CHECK (json_valid(oracle)),
    CONSTRAINT config_is_json CHECK (json_valid(config)),
    CONSTRAINT environment_is_json CHECK (json_valid(environment)),
    CONSTRAINT budget_positive CHECK (budget IS NULL OR budget >= 1),
    CONSTRAINT state_known CHECK (state IN ('open', 'done')),
    UNIQUE ("key")
)
 STRICT
    """,
    """
CREATE TABLE steps (
    id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    number INTEGER NOT NULL,
    purpose TEXT NOT NULL,
    state TEXT NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT step_number_once UNIQUE (run_id, number),
    CONSTRAINT step_of_run UNIQUE (run_id, id),
    CONSTRAINT number_not_negative CHECK (number >= 0),
    CONSTRAINT purpose_known CHECK (purpose IN ('check', 'search', 'verify', 'external')),
    CONSTRAINT state_is_json CHECK (json_valid(state)),
    FOREIGN KEY(run_id) REFERENCES runs (id)
)
 STRICT
    """,
    """
CREATE TABLE triggers (
    id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    target_class INTEGER NOT NULL,
    channels INTEGER NOT NULL,
    height INTEGER NOT NULL,
    width INTEGER NOT NULL,
    mask BLOB NOT NULL,
    pattern BLOB NOT NULL,
    mask_size REAL NOT NULL,
    success_rate REAL,
    successes INTEGER NOT NULL,
    trials INTEGER NOT NULL,
    censored INTEGER NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT one_trigger_a_class UNIQUE (run_id, target_class),
    CONSTRAINT class_not_negative CHECK (target_class >= 0),
    CONSTRAINT shape_positive CHECK (channels > 0 AND height > 0 AND width > 0),
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
    clean_accuracy REAL,
    notes TEXT NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (run_id),
    CONSTRAINT verdict_known CHECK (verdict IN ('backdoored', 'clean', 'undecided', 'invalid')),
    CONSTRAINT stopped_known CHECK (stopped IN ('decided', 'budget', 'converged')),
    CONSTRAINT flagged_is_list CHECK (json_valid(flagged) AND json_type(flagged) = 'array'),
    CONSTRAINT queries_not_negative CHECK (spent >= 0 AND refused >= 0),
    CONSTRAINT seconds_not_negative CHECK (seconds >= 0),
    CONSTRAINT accuracy_is_share CHECK (clean_accuracy IS NULL OR clean_accuracy BETWEEN 0 AND 1),
    FOREIGN KEY(run_id) REFERENCES runs (id)
)
 STRICT
    """,
    """
CREATE TABLE calls (
    id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    step_id INTEGER,
    number INTEGER NOT NULL,
    first INTEGER NOT NULL,
    queries INTEGER NOT NULL,
    charged INTEGER NOT NULL,
    codec TEXT NOT NULL,
    rows TEXT NOT NULL,
    answers BLOB NOT NULL,
    crc32 INTEGER NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT call_number_once UNIQUE (run_id, number),
    CONSTRAINT call_in_step_of_run FOREIGN KEY(run_id, step_id) REFERENCES steps (run_id, id),
    CONSTRAINT ordinals_not_negative CHECK (number >= 0 AND first >= 0),
    CONSTRAINT queries_positive CHECK (queries > 0),
    CONSTRAINT charged_within_queries CHECK (charged BETWEEN 0 AND queries),
    CONSTRAINT codec_named CHECK (length(codec) > 0),
    CONSTRAINT one_row_a_query CHECK (json_valid(rows) AND json_array_length(rows) = queries),
    CONSTRAINT one_answer_a_query CHECK (length(answers) > 0 AND length(answers) % queries = 0),
    FOREIGN KEY(run_id) REFERENCES runs (id)
)
 STRICT
    """,
    """
CREATE TABLE refusals (
    id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    step_id INTEGER,
    queries INTEGER NOT NULL,
    reason TEXT NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT refusal_in_step_of_run FOREIGN KEY(run_id, step_id) REFERENCES steps (run_id, id),
    CONSTRAINT queries_positive CHECK (queries > 0),
    CONSTRAINT reason_named CHECK (length(reason) > 0),
    FOREIGN KEY(run_id) REFERENCES runs (id)
)
 STRICT
    """,
    """
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
    """,
    """
CREATE VIEW spend AS
SELECT
    c.run_id AS run,
    coalesce(s.purpose, 'external') AS purpose,
    count(*) AS calls,
    sum(c.queries) AS queries,
    sum(c.charged) AS charged
FROM calls AS c LEFT JOIN steps AS s ON s.id = c.step_id
GROUP BY c.run_id, coalesce(s.purpose, 'external')
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
