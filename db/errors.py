"""Everything this package raises on purpose, and the one place where a driver's error becomes ours."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError, SQLAlchemyError


class StorageError(Exception):
    """Base of the errors of the ledger; the message names the file."""


class NotALedger(StorageError):
    """The file is not SQLite, or belongs to another program."""


class NewerLedger(StorageError):
    """The file was written by a newer simkit; who passes over what is no ledger must not pass over this one."""


class UnknownRun(StorageError):
    """The run that is asked for is not in the ledger, or is not the only one and was not named."""


class StorageBusy(StorageError):
    """The file is open already, here or in another process, or another program holds it locked."""


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
        said = error.strerror or _one_line(error)
        if error.errno in (errno.EIO, errno.ENOSPC, errno.EDQUOT):
            raise _full(path, said, unstored) from error
        raise StorageError(f"{path}: {said}; choose a file in a folder you may write") from error
    except (SQLAlchemyError, OverflowError, ValueError) as error:
        raise StorageError(f"{path}: {_one_line(error)}") from error


def _one_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def _full(path: Path, said: str, unstored: int) -> StorageFull:
    return StorageFull(
        f"{path}: the disk is full or failing ({said}){_waiting(unstored)}; make room and go on", unstored
    )


def _waiting(unstored: int) -> str:
    return f"; {unstored} queries are not stored yet" if unstored else ""


def _of_sqlite(path: Path, error: BaseException, unstored: int) -> StorageError:
    name, said = getattr(error, "sqlite_errorname", ""), " ".join(str(error).split())
    waiting = _waiting(unstored)
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StorageBusy(f"{path}: another program holds the file locked{waiting}; close it there and go on")
    if name.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
        return _full(path, said, unstored)
    if name.startswith("SQLITE_NOTADB"):
        return NotALedger(f"{path}: not an SQLite file; name another file")
    if name.startswith("SQLITE_CORRUPT"):
        return StorageError(f"{path}: the file is damaged ({said}); restore it from a copy")
    if name.startswith("SQLITE_CONSTRAINT"):
        return StorageError(f"{path}: the ledger refuses this row: {said}{waiting}")
    return StorageError(f"{path}: {said}{waiting}")
