"""Where a table goes and in which form: checked before a line is read."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypeAlias

from db.errors import StorageError
from simkit.errors import ConfigError

Format: TypeAlias = Literal["text", "csv", "json", "html"]

_FORMATS: Mapping[str, Format] = MappingProxyType({".txt": "text", ".csv": "csv", ".json": "json", ".html": "html"})
"""By how a file's name ends."""


def format_of(out: Path | None) -> Format:
    """By how the name ends; `text` without a name. Raises ConfigError where it ends otherwise."""
    form = "text" if out is None else _FORMATS.get(out.suffix.lower())
    if form is None:
        raise ConfigError(f"--out {out}: name a file that ends in {', '.join(_FORMATS)}, or say the --format")
    return form


def checked_place(out: Path, files: Sequence[Path], endings: Collection[str] = _FORMATS) -> Path:
    """`out`; one that is there and has one of these endings is replaced, and nothing else is.

    Raises ConfigError where the lines are read from it, StorageError.
    """
    if out.resolve() in [file.resolve() for file in files]:
        raise ConfigError(f"--out {out}: the lines are read from there; name another file")
    if out.is_dir():
        raise StorageError(f"{out}: a folder; name a file in it")
    if out.exists() and out.suffix.lower() not in endings:
        raise StorageError(f"{out}: there already; name a file that ends in {', '.join(endings)}, or take it away")
    if not out.parent.is_dir():
        raise StorageError(f"{out}: there is no folder {out.parent}; make it, or name another file")
    if not os.access(out.parent, os.W_OK):
        raise StorageError(f"{out}: {out.parent} may not be written; name another file")
    return out


_BESIDE = ("", "-wal", "-shm", "-journal", ".lock")
"""Files of a ledger by what follows its name."""

_BEGINS = b"<!DOCTYPE html>"


def checked_report_place(db: Path, out: Path | None) -> Path:
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
