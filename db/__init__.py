"""Storage: ledgers, and how they are written, read, checked, exported and merged."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from db.reader import Reader

__all__ = ["open"]


def open(path: str | PathLike[str]) -> Reader:
    """Open the ledger at `path` for reading, even while a scan writes it; see `db.reader.Reader`.

    Raises NotALedger, or StorageError if there is no ledger.
    """
    from db.reader import Reader  # here: pandas takes a while, and not everyone who imports `db` reads

    return Reader(Path(path))
