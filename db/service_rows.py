"""How the rows of a networked run are written and read; `db.run.Run` has a method for each of these functions."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from math import isfinite

import numpy as np

from db.errors import StorageError
from db.records import FloatArray, StoredCall, unpack_rows
from db.seal import SEALED, broken, insertion, seal, selection
from db.service_records import (
    ALARM_COLUMNS,
    ATTEMPT_COLUMNS,
    Alarm,
    AlarmLike,
    Attempt,
    AttemptLike,
    Beside,
    StoredDelivery,
    image_sha256,
    pack_picture,
)
from db.tally import TALLY_SECONDS
from db.writer import QueuedRow, Writer

REASONS_OF_RATE = ("near_duplicate", "budget", "failed", "invalid_images")
"""Reasons of refusals that come after a rate limit."""

TOOK_RATE = str(REASONS_OF_RATE)
"""The same as SQL."""


def rows_beside(writer: Writer, run: int, number: int, beside: Beside) -> tuple[list[QueuedRow], int]:
    """What is stored together with call `number`, still to be queued, and the bytes of the images among it.

    Raises StorageError for an idempotency key that is stored already.
    """
    rows: list[QueuedRow] = []
    if beside.idempotency is not None:
        if writer.read("SELECT 1 FROM deliveries WHERE run_id = ? AND idempotency = ?", run, beside.idempotency):
            raise StorageError(f"{writer.path}: run {run} has answered idempotency key {beside.idempotency!r} already")
        rows.append(("deliveries", (run, number, beside.idempotency, beside.digest, time.time())))
    if beside.fingerprints is not None:
        prints = np.ascontiguousarray(beside.fingerprints, "<f4")
        rows.append(("fingerprints", (run, number, prints.tobytes())))
    rows += [("alarms", row) for row in _alarm_rows(run, beside.alarms)]
    if beside.images is None:
        return rows, 0
    hashes = [image_sha256(image) for image in beside.images]
    pictures = _pictures(writer, dict(zip(hashes, beside.images, strict=True)), beside.room)
    return [*rows, *pictures, ("asked", (run, number, json.dumps(hashes)))], sum(len(row[2]) for _, row in pictures)


def check_beside(beside: Beside, queries: int) -> None:
    """Raise StorageError, before anything is queued, unless `beside` fits a call of `queries`."""
    digest = beside.digest
    if beside.idempotency is not None and not (beside.idempotency and len(digest) == 64 and set(digest) <= _HEX):
        raise StorageError(f"idempotency key {beside.idempotency!r} with digest {digest!r}; give a SHA-256 as hex")
    for name, rows in (("fingerprints", beside.fingerprints), ("images", beside.images)):
        if rows is not None and (len(rows) != queries or rows.dtype != np.float32):
            raise StorageError(f"{len(rows)} {name} of type {rows.dtype} for {queries} queries; give float32, one each")
    for alarm in beside.alarms:
        if not (alarm.detector and alarm.action and alarm.first >= 0 and alarm.queries > 0 and isfinite(alarm.score)):
            raise StorageError(f"{alarm} is no alarm; give a detector, a score, a range of queries and an action")


_HEX = frozenset("0123456789abcdef")


def _pictures(writer: Writer, images: dict[str, FloatArray], room: int) -> list[QueuedRow]:
    rows: list[QueuedRow] = []
    for sha256, image in images.items():
        if room <= 0 or writer.read("SELECT 1 FROM pictures WHERE sha256 = ?", sha256):
            continue
        codec, data = pack_picture(image)
        if len(data) <= room:
            rows.append(("pictures", (sha256, codec, data)))
            room -= len(data)
    return rows


def delivery(writer: Writer, run: int, idempotency: str) -> StoredDelivery | None:
    """The call of this run that was answered under the key, None if there is none."""
    writer.commit()
    for row in writer.read(selection("deliveries", "WHERE run_id = ? AND idempotency = ?"), run, idempotency):
        found = dict(zip(SEALED["deliveries"], row[1:-1], strict=True))
        calls = writer.read(selection("calls", "WHERE run_id = ? AND number = ?"), run, found["call_number"])
        if any(broken([row])) or any(broken(calls)) or not calls:
            raise StorageError(
                f"{writer.path}: run {run}: call {found['call_number']} is damaged; restore the file from a copy"
            )
        call = dict(zip(SEALED["calls"], calls[0][1:-1], strict=True))
        stored = StoredCall(call["step_id"], unpack_rows(call["rows"]), call["codec"], call["answers"], call["first"])
        return StoredDelivery(found["digest"], call["number"], call["queries"], stored)
    return None


def fingerprints(writer: Writer, run: int, width: int, last: int) -> FloatArray:
    """The stored fingerprints of the last calls of this run, float32 (N, width): at most `last`, in order."""
    rows: list[FloatArray] = []
    for row in _latest(writer, run):
        if sum(map(len, rows)) >= last:
            break
        rows.append(np.frombuffer(row, "<f4").astype(np.float32).reshape(-1, width))
    return np.concatenate(rows[::-1])[-last:] if rows else np.empty((0, width), np.float32)


_PAGE = 256


def _latest(writer: Writer, run: int) -> Iterator[bytes]:
    """The fingerprints of each call, the latest first."""
    before = 2**62
    while rows := writer.read(
        selection("fingerprints", f"WHERE run_id = ? AND call_number < ? ORDER BY call_number DESC LIMIT {_PAGE}"),
        run,
        before,
    ):
        for row in rows:
            if any(broken([row])):
                raise StorageError(f"{writer.path}: row {row[0]} of fingerprints is damaged; restore the file")
            before = row[SEALED["fingerprints"].index("call_number") + 1]
            yield row[SEALED["fingerprints"].index("data") + 1]


def recent(writer: Writer, run: int, since: float) -> list[tuple[float, int]]:
    """Time (Unix seconds) and queries of the calls since then, and of the refusals that a rate limit let through."""
    statement = (
        "SELECT at, queries FROM calls WHERE run_id = ? AND at > ? UNION ALL"
        f" SELECT at, queries FROM refusals WHERE run_id = ? AND at > ? AND reason IN {TOOK_RATE} ORDER BY 1"
    )
    return [(float(at), int(queries)) for at, queries in writer.read(statement, run, since, run, since - TALLY_SECONDS)]


def add_attempt(writer: Writer, run: int, attempt: AttemptLike) -> None:
    """Commit one event of a request. Raises StorageError if it is stored already or not valid."""
    row = tuple(getattr(attempt, name) for name in ATTEMPT_COLUMNS.split(", "))
    _commit(writer, "attempts", (run, *row, time.time()))


def attempts(writer: Writer, run: int) -> list[Attempt]:
    """The attempts of this run, in order."""
    return [
        Attempt(*row)
        for row in writer.read(f"SELECT {ATTEMPT_COLUMNS} FROM attempts WHERE run_id = ? ORDER BY id", run)
    ]


def add_alarms(writer: Writer, run: int, alarms: Sequence[AlarmLike]) -> None:
    """Commit alarms, all or none. Raises StorageError if one is not valid."""
    if not alarms:
        return
    _commit(writer, "alarms", *_alarm_rows(run, alarms))


def _alarm_rows(run: int, alarms: Sequence[AlarmLike]) -> list[tuple[object, ...]]:
    now = time.time()
    return [(run, a.detector, float(a.score), int(a.first), int(a.queries), a.action, now) for a in alarms]


def alarms(writer: Writer, run: int) -> list[Alarm]:
    """The alarms of this run, in order."""
    writer.commit()
    return [Alarm(*row) for row in writer.read(f"SELECT {ALARM_COLUMNS} FROM alarms WHERE run_id = ? ORDER BY id", run)]


def _commit(writer: Writer, table: str, *rows: tuple[object, ...]) -> None:
    # not by the queue, where a row that the schema refuses would block all others
    with writer.transaction() as connection:
        connection.exec_driver_sql(insertion(table), [(*row, seal(row)) for row in rows])
