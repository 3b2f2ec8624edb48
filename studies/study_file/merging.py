"""The ledgers of a study as one file, `study.db`: each finished run is taken once."""

from __future__ import annotations

from pathlib import Path

from db import reads
from db.merge import merge
from studies.ledger_files import ledgers_in

MERGED = "study.db"


def merge_finished(ledgers: Path, into: Path) -> int:
    """Take the finished runs of all ledgers that `into` has not yet; returns how many. Raises StorageError."""
    there = set(reads.runs(into)["key"]) if into.exists() else set()
    new = [path for path in ledgers_in(ledgers) if path != into and _finished(path) - there]
    return sum(one.outcome in ("added", "replaced") for one in merge(into, new)) if new else 0


def _finished(path: Path) -> set[str]:
    runs = reads.runs(path)
    return set(runs[runs["state"] == "done"]["key"])
