"""Folders of ledgers, as studies leave them: one file a scan."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from db import reads
from db.errors import StorageError
from db.merge import merge

SCREENER = "simkit.mitigation.Screener"
"""The kind of detector that a screening is kept as."""

SCREENING = ".mitigation.db"
"""How the ledger ends that `simkit mitigate` keeps beside a scan's."""


def scans_in(folder: Path) -> list[Path]:
    """As `ledgers_in`, without those of screenings."""
    return [path for path in ledgers_in(folder) if not path.name.endswith(SCREENING)]


def ledgers_in(folder: Path) -> list[Path]:
    """The databases in a folder and those below it, sorted. Raises StorageError where there is no folder."""
    if not folder.is_dir():
        raise StorageError(f"--ledgers {folder}: no folder of ledgers; name the one that the scans were kept in")
    return sorted(folder.rglob("*.db"))


def is_screening(config: object) -> bool:
    """Whether a run with this config, the JSON of its `RunInfo` read, is a mitigation's.

    It screens inputs by the verdict and triggers of the scan that it follows, and tells nothing of the model.
    """
    detector = config.get("detector") if isinstance(config, Mapping) else None
    return isinstance(detector, Mapping) and detector.get("kind") == SCREENER


MERGED = "study.db"


def merge_finished(ledgers: Path, into: Path) -> int:
    """Take the finished runs of all ledgers that `into` has not yet; returns how many. Raises StorageError."""
    there = set(reads.runs(into)["key"]) if into.exists() else set()
    new = [path for path in ledgers_in(ledgers) if path != into and _finished(path) - there]
    return sum(one.outcome in ("added", "replaced") for one in merge(into, new)) if new else 0


def _finished(path: Path) -> set[str]:
    runs = reads.runs(path)
    return set(runs[runs["state"] == "done"]["key"])
