"""Everything that is stored: ledgers, and how they are written, read, checked, exported and merged."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from db.reader import Reader

__all__ = ["open"]


def open(path: str | PathLike[str]) -> Reader:
    """The ledger at `path` to look at, also while a scan writes it; see `db.reader.Reader`.

    Raises NotALedger, StorageError where there is no ledger.
    """
    from db.reader import Reader  # here: pandas takes a while, and not everyone who imports `db` reads

    return Reader(Path(path))
