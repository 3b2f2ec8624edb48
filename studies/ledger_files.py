"""Folders of ledgers, as studies leave them: one file a scan."""

from __future__ import annotations

from pathlib import Path

from db.errors import StorageError

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
