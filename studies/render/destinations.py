"""Output files and their formats, checked before any input is read."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypeAlias

from db.errors import StorageError
from simkit.errors import ConfigError
from simkit.files import can_hold_files

Format: TypeAlias = Literal["text", "csv", "json", "html"]

_FORMATS: Mapping[str, Format] = MappingProxyType({".txt": "text", ".csv": "csv", ".json": "json", ".html": "html"})
"""The format of a file by its suffix."""


def format_of(out: Path | None) -> Format:
    """The format by the suffix of `out`, `text` for None. Raises ConfigError for another suffix."""
    form = "text" if out is None else _FORMATS.get(out.suffix.lower())
    if form is None:
        raise ConfigError(f"--out {out}: name a file that ends in {', '.join(_FORMATS)}, or give --format")
    return form


def checked_place(out: Path, files: Sequence[Path], endings: Collection[str] = _FORMATS) -> Path:
    """`out`, if it may be written: an existing file is replaced only if it has one of these endings.

    Raises ConfigError where `out` is one of the input `files`, else StorageError.
    """
    if _real(out) in map(_real, files):
        raise ConfigError(f"--out {out}: is an input file; name another file")
    if out.is_dir():
        raise StorageError(f"{out}: is a folder; name a file in it")
    if out.exists() and out.suffix.lower() not in endings:
        raise StorageError(f"{out}: exists already; name a file that ends in {', '.join(endings)}, or remove this one")
    if not out.parent.is_dir():
        raise StorageError(f"{out}: the folder {out.parent} does not exist; create it, or name another file")
    if not can_hold_files(out.parent):
        raise StorageError(f"{out}: the folder {out.parent} is not writable; name another file")
    return out


def _real(path: Path) -> str:
    """The path without links; `Path.resolve` fails where a link leads to itself."""
    return os.path.realpath(path)


_BESIDE = ("", "-wal", "-shm", "-journal", ".lock")
"""Suffixes of the files that belong to a ledger."""

_BEGINS = b"<!DOCTYPE html>"


def checked_report_place(db: Path, out: Path | None) -> Path:
    """`out`, or `DB.html` beside the ledger for None; an existing file is replaced only if it is a page.

    Raises ConfigError for the ledger itself, else StorageError.
    """
    page = db.with_name(f"{db.name}.html") if out is None else out
    if _real(page) in [_real(db) + suffix for suffix in _BESIDE]:
        raise ConfigError(f"--out {page}: is the ledger; name another file")
    return checked_page(page)


def checked_page(page: Path) -> Path:
    """`page`, if a page may be written there: an existing file is replaced only if it is a page.

    Raises StorageError.
    """
    if page.is_dir():
        raise StorageError(f"{page}: is a folder; name a file for the report")
    if page.exists() and not begins_with(page, _BEGINS):
        raise StorageError(f"{page}: exists already and is not an HTML page; name another file, or remove this one")
    if not page.parent.is_dir():
        raise StorageError(f"{page}: the folder {page.parent} does not exist; create it, or name another file")
    if not can_hold_files(page.parent):
        raise StorageError(f"{page}: the folder {page.parent} is not writable; name another file with --out")
    return page


def begins_with(page: Path, mark: bytes) -> bool:
    """Whether `page` is an empty file or begins with `mark`, unlike a ledger or a device. Raises StorageError."""
    if not page.is_file():
        return False
    try:
        with page.open("rb") as file:
            return file.read(len(mark)) in (b"", mark)
    except OSError as error:
        raise StorageError(f"{page}: cannot be read ({error.strerror}); name another file with --out") from error
