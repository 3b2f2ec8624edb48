"""Everything this package raises on purpose, and the one place where a driver's error becomes ours."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError, SQLAlchemyError


class StorageError(Exception):
    """Base of the errors of the ledger; the message names the file."""


class NotALedger(StorageError):
    """The file is not SQLite, belongs to another program, or was written by a newer simkit."""


class StorageBusy(StorageError):
    """Another process is writing the file."""


class StorageFull(StorageError):
    """The disk is full or failed; `unstored` queries wait in memory for the next flush."""

    def __init__(self, message: str, unstored: int = 0) -> None:
        super().__init__(message)
        self.unstored = unstored


@contextmanager
def translated(path: Path, unstored: int = 0) -> Iterator[None]:
    """Raise whatever the driver, the toolkit or the file system raises as a StorageError that names `path`.

    unstored: queries that are in memory only, told in the message.
    """
    try:
        yield
    except DBAPIError as error:
        raise _of_sqlite(path, error.orig or error, unstored) from error
    except sqlite3.Error as error:
        raise _of_sqlite(path, error, unstored) from error
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror or error}; choose a file in a folder you may write") from error
    except (SQLAlchemyError, OverflowError, ValueError) as error:
        raise StorageError(f"{path}: {str(error).splitlines()[0]}") from error


def _of_sqlite(path: Path, error: BaseException, unstored: int) -> StorageError:
    name, said = getattr(error, "sqlite_errorname", ""), " ".join(str(error).split())
    waiting = f"; {unstored} queries are not stored yet" if unstored else ""
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StorageBusy(f"{path}: another program holds the file locked{waiting}; close it there and go on")
    if name.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
        return StorageFull(f"{path}: the disk is full or failing ({said}){waiting}; make room and go on", unstored)
    if name.startswith("SQLITE_NOTADB"):
        return NotALedger(f"{path}: not an SQLite file; name another file")
    if name.startswith("SQLITE_CORRUPT"):
        return StorageError(f"{path}: the file is damaged ({said}); restore it from a copy")
    if name.startswith("SQLITE_CONSTRAINT"):
        return StorageError(f"{path}: the ledger refuses this row: {said}{waiting}")
    return StorageError(f"{path}: {said}{waiting}")
