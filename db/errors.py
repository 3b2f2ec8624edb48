"""All errors that this package raises on purpose, and the translation of SQLite's errors into them."""

from __future__ import annotations

import errno
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError, SQLAlchemyError


class StorageError(Exception):
    """Base of all errors of a ledger; the message names the file."""


class NotALedger(StorageError):
    """The file is not SQLite, or belongs to another program."""


class NewerLedger(StorageError):
    """The file was written by a newer simkit. Code that skips files which are not ledgers must not skip this one."""


class UnknownRun(StorageError):
    """The requested run is not in the ledger, or no run was named and the ledger has several."""


class StorageBusy(StorageError):
    """The file is already open, here or in another process, or another program has locked it."""


class StorageFull(StorageError):
    """The disk is full or failing; `unstored` queries are kept in memory until the next flush."""

    def __init__(self, message: str, unstored: int = 0) -> None:
        super().__init__(message)
        self.unstored = unstored


@contextmanager
def cleaning_up(after: BaseException | None) -> Iterator[None]:
    """A body that cleans up `after` an error, None after success. An interrupt is not replaced by a StorageError of
    the body, which becomes a warning."""
    try:
        yield
    except StorageError as error:
        if after is None or isinstance(after, Exception):
            raise
        warnings.warn(str(error), stacklevel=3)


@contextmanager
def translated(path: Path, unstored: int = 0) -> Iterator[None]:
    """Turn errors of SQLite, SQLAlchemy and the file system into a StorageError that names `path`.

    unstored: number of queries that are in memory only; the message states it.
    """
    try:
        yield
    except DBAPIError as error:
        raise _of_sqlite(path, error.orig or error, unstored) from error
    except sqlite3.Error as error:
        raise _of_sqlite(path, error, unstored) from error
    except OSError as error:
        reason = error.strerror or _one_line(error)
        if error.errno in (errno.EIO, errno.ENOSPC, errno.EDQUOT):
            raise _full(path, reason, unstored) from error
        raise StorageError(f"{path}: {reason}; choose a file in a folder you may write") from error
    except (SQLAlchemyError, OverflowError, ValueError) as error:
        raise StorageError(f"{path}: {_one_line(error)}") from error


def _one_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def _full(path: Path, reason: str, unstored: int) -> StorageFull:
    return StorageFull(
        f"{path}: the disk is full or failing ({reason}){_waiting(unstored)}; free some space and try again", unstored
    )


def _waiting(unstored: int) -> str:
    return f"; {unstored} queries are not stored yet" if unstored else ""


def _of_sqlite(path: Path, error: BaseException, unstored: int) -> StorageError:
    name, reason = getattr(error, "sqlite_errorname", ""), " ".join(str(error).split())
    waiting = _waiting(unstored)
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StorageBusy(f"{path}: another program has locked the file{waiting}; close it there and try again")
    if name.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
        return _full(path, reason, unstored)
    if name.startswith("SQLITE_NOTADB"):
        return NotALedger(f"{path}: not an SQLite file; name another file")
    if name.startswith("SQLITE_CORRUPT"):
        return StorageError(f"{path}: the file is damaged ({reason}); restore it from a copy")
    if name.startswith("SQLITE_CONSTRAINT"):
        return StorageError(f"{path}: the ledger rejects this row: {reason}{waiting}")
    return StorageError(f"{path}: {reason}{waiting}")
