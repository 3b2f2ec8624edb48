"""What a provider looks at in its ledger: who asked how much and when, what was refused, alarms, and kept images."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from db.engine import reading
from db.records import FloatArray
from db.service_reads import kept

_OWN = """
    WITH own AS (
        SELECT id, model, json_extract(config, '$.service.key') AS caller FROM runs
        WHERE caller IS NOT NULL AND (? IS NULL OR caller = ?)
    )
"""
"""The runs of a service, of one API key or of all."""

WIDTHS = (60, 300, 900, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86400, 7 * 86400, 30 * 86400, 365 * 86400)
"""Seconds that a bar of `spending` may stand for."""


@dataclass(frozen=True)
class Use:
    """What an API key was answered on a model. caller: id of the key. last: Unix time of its last answer."""

    caller: str
    model: str
    calls: int
    charged: int
    last: float


@dataclass(frozen=True)
class Refusals:
    """Queries that were turned away for one reason. Calls are not told apart, since they share rows, see `db.tally`."""

    reason: str
    queries: int


@dataclass(frozen=True)
class AlarmOf:
    """An alarm, see `db.service_records.Alarm`. at: Unix time."""

    at: float
    caller: str
    model: str
    detector: str
    score: float
    first: int
    queries: int
    action: str


@dataclass(frozen=True)
class Activity:
    """What a service's ledger holds. alarms: the latest ones, newest first, of alarm_count in all. banned: Unix time of
    the last ban by API key."""

    uses: tuple[Use, ...]
    refused: tuple[Refusals, ...]
    alarms: tuple[AlarmOf, ...]
    alarm_count: int
    banned: dict[str, float]


@dataclass(frozen=True)
class Spending:
    """Queries charged over time: charged[i] from Unix time start + i * seconds on; empty if there were none."""

    start: float
    seconds: int
    charged: tuple[int, ...]


@dataclass(frozen=True)
class AskedCall:
    """The images of a call. id: for the next page. first: queries of its key on the model before it. hashes: addresses
    of its images. kept: those that can be shown."""

    id: int
    at: float
    model: str
    first: int
    hashes: tuple[str, ...]
    kept: frozenset[str]


def activity(path: Path, caller: str | None = None, most_alarms: int = 50) -> Activity:
    """What was asked, of one API key or of all."""
    own = (caller, caller)
    with reading(path, older=False) as connection:
        uses = connection.exec_driver_sql(
            f"{_OWN} SELECT caller, model, count(*), sum(charged), max(at) FROM own JOIN calls ON run_id = own.id"
            " GROUP BY caller, model ORDER BY caller, model",
            own,
        )
        refused = connection.exec_driver_sql(
            f"{_OWN} SELECT reason, sum(refusals.queries) AS most FROM own JOIN refusals ON run_id = own.id"
            " GROUP BY reason ORDER BY most DESC, reason",
            own,
        )
        alarms = connection.exec_driver_sql(
            f"{_OWN} SELECT at, caller, model, detector, score, first, queries, action"
            " FROM own JOIN alarms ON run_id = own.id ORDER BY alarms.id DESC LIMIT ?",
            (*own, most_alarms),
        )
        banned = connection.exec_driver_sql(
            f"{_OWN} SELECT caller, count(*), max(at) FILTER (WHERE action = 'ban')"
            " FROM own JOIN alarms ON run_id = own.id GROUP BY caller",
            own,
        ).all()
        return Activity(
            tuple(Use(*row) for row in uses),
            tuple(Refusals(*row) for row in refused),
            tuple(AlarmOf(*row) for row in alarms),
            sum(count for _, count, _ in banned),
            {name: at for name, _, at in banned if at is not None},
        )


def spending(path: Path, caller: str, most: int = 48) -> Spending:
    """Queries charged to an API key over time, in at most `most` + 1 bars of one of WIDTHS (or more than a year)."""
    own = (caller, caller)
    with reading(path, older=False) as connection:
        first, last = connection.exec_driver_sql(
            f"{_OWN} SELECT min(at), max(at) FROM own JOIN calls ON run_id = own.id", own
        ).one()
        if first is None:
            return Spending(0.0, WIDTHS[0], ())
        span = last - first
        seconds = next((width for width in WIDTHS if span <= most * width), int(span / most) + 1)
        start = float(first // seconds * seconds)
        bars = connection.exec_driver_sql(
            f"{_OWN} SELECT CAST((at - ?) / ? AS INTEGER) AS bar, sum(charged) FROM own JOIN calls ON run_id = own.id"
            " GROUP BY bar",
            (*own, start, seconds),
        )
        sums = {int(row[0]): int(row[1]) for row in bars}
        return Spending(start, seconds, tuple(sums.get(bar, 0) for bar in range(max(sums) + 1)))


def asked_calls(path: Path, caller: str, before: int = 2**62, images: int = 48) -> list[AskedCall]:
    """The latest calls of an API key whose images were noted, newest first: as many as hold `images` images.

    before: the `id` of the last call of the page before.
    """
    with reading(path, older=False) as connection:
        rows = connection.exec_driver_sql(
            f"{_OWN} SELECT asked.id, c.at, own.model, c.first, asked.hashes"
            " FROM own JOIN asked ON asked.run_id = own.id"
            " JOIN calls AS c ON c.run_id = asked.run_id AND c.number = asked.call_number"
            " WHERE asked.id < ? ORDER BY asked.id DESC LIMIT ?",
            (caller, caller, before, images),
        )
        found, count = list[AskedCall](), 0
        for number, at, model, first, hashes in rows:
            if count >= images:
                break
            listed = tuple(map(str, json.loads(hashes)))
            count += len(listed)
            found.append(AskedCall(number, at, model, first, listed, _kept(connection, hashes)))
        return found


def _kept(connection: Connection, hashes: str) -> frozenset[str]:
    statement = "SELECT value FROM json_each(?) WHERE value IN (SELECT sha256 FROM pictures)"
    return frozenset(str(sha256) for (sha256,) in connection.exec_driver_sql(statement, (hashes,)))


def kept_picture(path: Path, sha256: str) -> FloatArray | None:
    """The image of this address, float32 (C, H, W); None if it is not kept. Raises StorageError if it is damaged."""
    images = kept(path, [sha256])
    return None if images is None else images[0]
