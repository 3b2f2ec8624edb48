"""Folders of ledgers as studies write them, with one file per scan."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from db import reads
from db.errors import StorageError
from db.merge import merge

SCREENER = "simkit.mitigation.Screener"
"""The kind of detector under which `simkit mitigate` stores its run."""

SCREENING = ".mitigation.db"
"""The suffix of the ledger that `simkit mitigate` writes beside that of a scan."""


def scans_in(folder: Path) -> list[Path]:
    """The ledgers of `ledgers_in` without those of screenings."""
    return [path for path in ledgers_in(folder) if not path.name.endswith(SCREENING)]


def ledgers_in(folder: Path) -> list[Path]:
    """The databases in a folder and those below it, sorted. Raises StorageError where there is no folder."""
    if not folder.is_dir():
        raise StorageError(f"--ledgers {folder}: no folder of ledgers; name the folder that the scans were stored in")
    return sorted(folder.rglob("*.db"))


def is_screening(config: object) -> bool:
    """Whether a run with this config (the decoded JSON of its `RunInfo`) is one of `simkit mitigate`.

    Such a run screens inputs with the triggers of a scan; its verdict is that of the scan and no new finding.
    """
    detector = config.get("detector") if isinstance(config, Mapping) else None
    return isinstance(detector, Mapping) and detector.get("kind") == SCREENER


MERGED = "study.db"


def merge_finished(ledgers: Path, into: Path) -> int:
    """Merge finished runs that `into` lacks from all ledgers; returns how many. Raises StorageError."""
    present = set(reads.runs(into)["key"]) if into.exists() else set()
    new = [path for path in ledgers_in(ledgers) if path != into and _finished(path) - present]
    return sum(run.outcome in ("added", "replaced") for run in merge(into, new)) if new else 0


def _finished(path: Path) -> set[str]:
    runs = reads.runs(path)
    return set(runs[runs["state"] == "done"]["key"])
