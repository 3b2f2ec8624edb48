"""Checks whether a ledger is intact: checksums, and every stored count against a new count."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sqlalchemy import Connection

from db.engine import reading
from db.errors import StorageError
from db.records import VERDICT_COLUMNS, TriggerRow, checksum, unpack_verdict
from db.seal import SEALED, broken, selection
from db.service_records import image_sha256, unpack_picture
from db.tables import SCHEMA, VERSION_TABLE
from db.trigger_rows import TRIGGER_COLUMNS, unpack_trigger

_PAGE_CALLS = 32
_MOST = 100
"""The check stops after this many mismatches."""

# each row that one of these statements returns describes one mismatch
_COUNTS = (
    "SELECT 'the view has ' || v.n || ' queries, the calls ' || c.n"
    " FROM (SELECT count(*) AS n FROM queries) AS v, (SELECT coalesce(sum(queries), 0) AS n FROM calls) AS c"
    " WHERE v.n <> c.n",
    "SELECT 'run ' || r.id || ': ' || c.spent || ' queries spent of a budget of ' || r.budget"
    " FROM runs AS r JOIN (SELECT run_id, sum(charged) AS spent FROM calls GROUP BY run_id) AS c ON c.run_id = r.id"
    " WHERE c.spent > r.budget",
    "SELECT 'run ' || v.run_id || ': the verdict says ' || v.spent || ' spent, the calls ' || coalesce(c.n, 0)"
    " FROM verdicts AS v LEFT JOIN (SELECT run_id, sum(charged) AS n FROM calls GROUP BY run_id) AS c"
    " ON c.run_id = v.run_id WHERE v.spent <> coalesce(c.n, 0)",
    "SELECT 'run ' || v.run_id || ': the verdict says ' || v.refused || ' refused, the refusals ' || coalesce(f.n, 0)"
    " FROM verdicts AS v LEFT JOIN (SELECT run_id, sum(queries) AS n FROM refusals GROUP BY run_id) AS f"
    " ON f.run_id = v.run_id WHERE v.refused <> coalesce(f.n, 0)",
    "SELECT 'run ' || v.run_id || ': the verdict says a cost of ' || v.cost || ', not its price times spent'"
    " FROM verdicts AS v JOIN runs AS r ON r.id = v.run_id"
    " WHERE abs(v.cost - json_extract(r.oracle, '$.price_per_thousand') * v.spent / 1000) > 1e-9 * v.cost",
    "SELECT 'run ' || r.id || ': state ' || r.state || ' does not fit its verdict'"
    " FROM runs AS r LEFT JOIN verdicts AS v ON v.run_id = r.id WHERE (r.state = 'done') <> (v.run_id IS NOT NULL)",
    "SELECT 'run ' || run_id || ': ' || count(*) || ' steps numbered ' || min(number) || ' to ' || max(number)"
    " FROM steps GROUP BY run_id HAVING min(number) <> 0 OR max(number) + 1 <> count(*)",
    "SELECT 'run ' || run_id || ', call ' || number || ': ' || charged || ' of ' || queries || ' queries charged'"
    " FROM calls WHERE charged <> queries",
    "SELECT 'run ' || run_id || ', class ' || target_class || ': success rate ' || coalesce(success_rate, 'none')"
    " || ', but ' || successes || ' successes in ' || trials || ' trials' FROM triggers"
    " WHERE (success_rate IS NULL) <> (trials = 0) OR abs(success_rate * trials - successes) > 1e-6 * trials",
    "SELECT 'run ' || run_id || ': ' || verdict || ' with the flagged classes ' || flagged"
    " FROM verdicts WHERE (verdict = 'backdoored') <> (json_array_length(flagged) > 0)",
    "SELECT 'run ' || v.run_id || ': flags class ' || f.value || ', which has no trigger'"
    " FROM verdicts AS v JOIN runs AS r ON r.id = v.run_id, json_each(v.flagged) AS f"
    # a scan flags classes by their triggers; another detector may flag a class without a trigger
    " WHERE json_type(r.config, '$.detector') IS NULL"
    " AND NOT EXISTS (SELECT 1 FROM triggers AS t WHERE t.run_id = v.run_id AND t.target_class = f.value)",
    "SELECT 'run ' || a.run_id || ', call ' || c.number || ': ' || json_array_length(a.hashes) || ' images asked, but '"
    " || c.queries || ' queries' FROM asked AS a JOIN calls AS c ON c.run_id = a.run_id AND c.number = a.call_number"
    " WHERE json_array_length(a.hashes) <> c.queries",
    "SELECT 'run ' || f.run_id || ', call ' || c.number || ': ' || length(f.data) || ' bytes of fingerprints for '"
    " || c.queries || ' queries' FROM fingerprints AS f"
    " JOIN calls AS c ON c.run_id = f.run_id AND c.number = f.call_number WHERE length(f.data) % (4 * c.queries) <> 0",
    "SELECT 'run ' || run_id || ': attempt ' || attempt || ' of ' || idempotency || ' is ' || outcome || ', never sent'"
    " FROM attempts AS a WHERE outcome <> 'sent' AND NOT EXISTS (SELECT 1 FROM attempts AS s WHERE s.run_id = a.run_id"
    " AND s.idempotency = a.idempotency AND s.attempt = a.attempt AND s.outcome = 'sent')",
    "SELECT 'run ' || run_id || ': ' || count(*) || ' attempts of ' || idempotency || ' numbered up to '"
    " || max(attempt) FROM attempts WHERE outcome = 'sent' GROUP BY run_id, idempotency"
    " HAVING max(attempt) <> count(*)",
    "SELECT 'run ' || run_id || ': the attempts of ' || idempotency || ' are about different queries' FROM attempts"
    " GROUP BY run_id, idempotency HAVING count(DISTINCT first) > 1 OR count(DISTINCT queries) > 1",
    "SELECT 'run ' || a.run_id || ': an alarm about query ' || (a.first + a.queries - 1) || ' of ' || coalesce(c.n, 0)"
    " FROM alarms AS a LEFT JOIN (SELECT run_id, sum(queries) AS n FROM calls GROUP BY run_id) AS c"
    " ON c.run_id = a.run_id WHERE a.first + a.queries > coalesce(c.n, 0)",
)


def check(path: Path) -> list[str]:
    """One sentence per mismatch in the ledger at `path`, at most 100; empty if the ledger is intact.

    Reads one read-only snapshot with a few calls in memory at a time. A file that cannot be read is a mismatch and
    raises no error.
    """
    mismatches: list[str] = []
    try:
        with reading(path, older=False) as connection:
            for mismatch in _mismatches(connection):
                mismatches.append(mismatch)
                if len(mismatches) == _MOST:
                    break
    except StorageError as error:
        mismatches.append(str(error))
    return mismatches


def _mismatches(connection: Connection) -> Iterator[str]:
    yield from _file(connection)
    yield from _calls(connection)
    yield from _seals(connection)
    for sql in _COUNTS:
        for (mismatch,) in connection.exec_driver_sql(sql):
            yield str(mismatch)
    yield from _verdicts(connection)
    yield from _triggers(connection)
    yield from _pictures(connection)


def _file(connection: Connection) -> Iterator[str]:
    for (message,) in connection.exec_driver_sql("PRAGMA integrity_check"):
        if message != "ok":
            yield f"integrity: {' '.join(message.split())}"
    for table, row, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check"):
        yield f"foreign key: row {row} of {table} names a row of {parent} that is not there"
    versions = [row[0] for row in connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}")]
    if versions != [f"{SCHEMA:04d}"]:
        yield f"schema: migrations {versions}, expected {SCHEMA:04d}"


def _calls(connection: Connection) -> Iterator[str]:
    """Checks checksums and lengths, and that the numbers and ordinals of each run have no gap."""
    sql = (
        "SELECT run_id, number, first, queries, codec, rows, answers, crc32,"
        " CASE WHEN json_valid(rows) THEN json_array_length(rows) END FROM calls ORDER BY run_id, number"
    )
    run = expected = first = -1
    for row in connection.execution_options(yield_per=_PAGE_CALLS).exec_driver_sql(sql):
        if row[0] != run:
            run, expected, first = row[0], 0, 0
        _, number, begins, queries, codec, rows, answers, crc32, packed = row
        where = f"run {run}, call {number}"
        if number != expected:
            yield f"{where}: expected call {expected}"
        if begins != first:
            yield f"{where}: begins at query {begins}, expected {first}"
        if packed != queries or queries < 1 or len(answers) % queries:
            yield f"{where}: {packed or 'unreadable'} rows and {len(answers)} bytes of answers for {queries} queries"
        if checksum(codec, rows, answers) != crc32:
            yield f"{where}: the checksum differs"
        expected, first = number + 1, begins + queries


def _seals(connection: Connection) -> Iterator[str]:
    """Rows of which any value differs from what was written."""
    for table in SEALED:
        rows = connection.execution_options(yield_per=_PAGE_CALLS).exec_driver_sql(selection(table))
        for row in broken(rows):
            yield f"{table}: row {row} differs from what was written"


def _verdicts(connection: Connection) -> Iterator[str]:
    for run, *row in connection.exec_driver_sql(f"SELECT run_id, {VERDICT_COLUMNS} FROM verdicts ORDER BY run_id"):
        try:
            unpack_verdict(row)
        except StorageError as error:
            yield f"run {run}: {error}"


def _triggers(connection: Connection) -> Iterator[str]:
    sql = f"SELECT run_id, {TRIGGER_COLUMNS} FROM triggers ORDER BY run_id, target_class"
    for run, *row in connection.execution_options(yield_per=1).exec_driver_sql(sql):
        try:
            trigger = unpack_trigger(row)
        except StorageError as error:
            yield f"run {run}, {error}"
            continue
        for mismatch in _sizes(trigger):
            yield f"run {run}, class {trigger.target_class}: {mismatch}"


def _sizes(trigger: TriggerRow) -> Iterator[str]:
    """What a patch is measured as, against its mask; other families can be measured only by their code."""
    if trigger.mask is None:
        return
    size = float(trigger.mask.sum(dtype=np.float64))
    for name, stored in (("mask size", trigger.mask_size), ("strength", trigger.strength)):
        if not np.isclose(stored or 0.0, size, rtol=1e-5, atol=1e-6):  # it may have been summed in float32
            yield f"{name} {stored:g}, the mask sums to {size:g}"


def _pictures(connection: Connection) -> Iterator[str]:
    """Kept images whose pixels are not those of their address."""
    rows = connection.execution_options(yield_per=_PAGE_CALLS)
    for sha256, codec, data in rows.exec_driver_sql("SELECT sha256, codec, data FROM pictures ORDER BY rowid"):
        try:
            found = image_sha256(unpack_picture(codec, data))
        except StorageError as error:
            yield f"picture {sha256[:12]}: {error}"
        else:
            if found != sha256:
                yield f"picture {sha256[:12]}: the pixels differ from their hash"
