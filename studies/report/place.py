"""Where the page goes: checked before the ledger is read."""

from __future__ import annotations

import os
from pathlib import Path

from db.errors import StorageError
from simkit.errors import ConfigError

_BESIDE = ("", "-wal", "-shm", "-journal", ".lock")
"""Files of a ledger by what follows its name."""


def checked_place(db: Path, out: Path | None) -> Path:
    """`out`, or `DB.html` beside the ledger. Raises ConfigError for the ledger itself, and StorageError."""
    page = db.with_name(f"{db.name}.html") if out is None else out
    if page.resolve() in [db.resolve().with_name(db.resolve().name + suffix) for suffix in _BESIDE]:
        raise ConfigError(f"--out {page}: that is the ledger; name another file")
    if page.is_dir():
        raise StorageError(f"{page}: a folder; name a file for the report")
    if not page.parent.is_dir():
        raise StorageError(f"{page}: there is no folder {page.parent}; make it, or name another file")
    if not os.access(page.parent, os.W_OK):
        raise StorageError(f"{page}: {page.parent} may not be written; name another file with --out")
    return page
