"""Where the page goes: checked before the ledger is read."""

from __future__ import annotations

import os
from pathlib import Path

from db.errors import StorageError
from simkit.errors import ConfigError

_BESIDE = ("", "-wal", "-shm", "-journal", ".lock")
"""Files of a ledger by what follows its name."""

_BEGINS = b"<!DOCTYPE html>"


def checked_place(db: Path, out: Path | None) -> Path:
    """`out`, or `DB.html` beside the ledger; a page that is there is replaced, and nothing else is.

    Raises ConfigError for the ledger itself, and StorageError.
    """
    page = db.with_name(f"{db.name}.html") if out is None else out
    if page.resolve() in [db.resolve().with_name(db.resolve().name + suffix) for suffix in _BESIDE]:
        raise ConfigError(f"--out {page}: that is the ledger; name another file")
    return checked_page(page)


def checked_page(page: Path) -> Path:
    """`page`, if a page may be written there; one that is there is replaced, and nothing else is.

    Raises StorageError.
    """
    if page.is_dir():
        raise StorageError(f"{page}: a folder; name a file for the report")
    if page.exists() and not _is_page(page):
        raise StorageError(f"{page}: there already, and no HTML page; name another file, or take it away")
    if not page.parent.is_dir():
        raise StorageError(f"{page}: there is no folder {page.parent}; make it, or name another file")
    if not os.access(page.parent, os.W_OK):
        raise StorageError(f"{page}: {page.parent} may not be written; name another file with --out")
    return page


def _is_page(page: Path) -> bool:
    """Whether it is a file that begins as a report does, or an empty one: not a ledger, a model or a device."""
    if not page.is_file():
        return False
    try:
        with page.open("rb") as file:
            return file.read(len(_BEGINS)) in (b"", _BEGINS)
    except OSError as error:
        raise StorageError(f"{page}: cannot be read ({error.strerror}); name another file with --out") from error
