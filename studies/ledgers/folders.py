"""Folders of ledgers, as studies leave them: one file a scan."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from db import reads
from db.errors import StorageError
from db.merge import merge
from db.records import RunInfo

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


_KIND = "simkit.mitigation.Screener"


def is_screening(info: RunInfo) -> bool:
    """Whether a run is a mitigation's, whose verdict and triggers are those of the scan that it goes by."""
    config = json.loads(info.config)
    return isinstance(config, dict) and isinstance(kind := config.get("detector"), dict) and kind.get("kind") == _KIND


MERGED = "study.db"


def merge_finished(ledgers: Path, into: Path) -> int:
    """Take the finished runs of all ledgers that `into` has not yet; returns how many. Raises StorageError."""
    there = set(reads.runs(into)["key"]) if into.exists() else set()
    new = [path for path in ledgers_in(ledgers) if path != into and _finished(path) - there]
    return sum(one.outcome in ("added", "replaced") for one in merge(into, new)) if new else 0


def _finished(path: Path) -> set[str]:
    runs = reads.runs(path)
    return set(runs[runs["state"] == "done"]["key"])


Config: TypeAlias = Mapping[str, Any]

_SCREENER = "simkit.mitigation.Screener"
"""The kind of runs in ledgers that screen inputs with a verdict that is there, and tell nothing of the model."""


def _detects(config: Config) -> bool:
    detector = config.get("detector")
    return not (isinstance(detector, Mapping) and detector.get("kind") == _SCREENER)
