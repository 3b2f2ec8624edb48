"""What a provider's ledger holds of each of its callers, for a service that goes on after a restart."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from db.engine import reading
from db.errors import StorageError
from db.records import FloatArray
from db.service_records import image_sha256, unpack_picture
from db.service_rows import TOOK_RATE
from db.tally import TALLY_SECONDS


@dataclass(frozen=True)
class Caller:
    """All runs of one API key. runs: their keys. spent: queries charged. banned: Unix time of its last ban, or None."""

    runs: tuple[str, ...]
    spent: int
    banned: float | None


_STATEMENT = """
    SELECT r.key,
        (SELECT coalesce(sum(charged), 0) FROM calls WHERE run_id = r.id),
        (SELECT max(at) FROM alarms WHERE run_id = r.id AND action = 'ban')
    FROM runs AS r WHERE json_extract(r.config, '$.service.key') = ? ORDER BY r.id
"""


def caller_of(path: Path, key: str) -> Caller:
    """The caller with this API key id; one without runs if the ledger does not know it."""
    with reading(path, older=False) as connection:
        rows = connection.exec_driver_sql(_STATEMENT, (key,)).fetchall()
    banned = max((at for _, _, at in rows if at is not None), default=None)
    return Caller(tuple(run for run, _, _ in rows), sum(spent for _, spent, _ in rows), banned)


def recent(path: Path, caller: str, since: float) -> list[tuple[float, int]]:
    """As `db.run.Run.recent`, over all runs of one API key."""
    statement = (
        "WITH own AS (SELECT id FROM runs WHERE json_extract(config, '$.service.key') = ?)"
        " SELECT at, queries FROM calls WHERE run_id IN own AND at > ? UNION ALL"
        f" SELECT at, queries FROM refusals WHERE run_id IN own AND at > ? AND reason IN {TOOK_RATE} ORDER BY 1"
    )
    with reading(path, older=False) as connection:
        rows = connection.exec_driver_sql(statement, (caller, since, since - TALLY_SECONDS))
        return [(float(at), int(queries)) for at, queries in rows]


def asked(path: Path, run: int) -> Mapping[int, Sequence[str]]:
    """The hashes of the images of each call of a run that was recorded with them, by the ordinal of its first query."""
    statement = (
        "SELECT c.first, a.hashes FROM asked AS a JOIN calls AS c ON c.run_id = a.run_id AND c.number = a.call_number"
        " WHERE a.run_id = ?"
    )
    with reading(path, older=False) as connection:
        return {int(first): json.loads(hashes) for first, hashes in connection.exec_driver_sql(statement, (run,))}


def kept(path: Path, hashes: Sequence[str]) -> FloatArray | None:
    """The images with these hashes, float32 (N, C, H, W); None unless all are kept. Raises StorageError for damage."""
    images = []
    with reading(path, older=False) as connection:
        for sha256 in hashes:
            row = connection.exec_driver_sql("SELECT codec, data FROM pictures WHERE sha256 = ?", (sha256,)).first()
            if row is None:
                return None
            images.append(unpack_picture(*row))
            if image_sha256(images[-1]) != sha256:
                raise StorageError(f"{path}: the kept image {sha256[:12]} is damaged; restore the file from a copy")
    return np.stack(images)
