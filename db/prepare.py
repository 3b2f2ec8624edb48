"""Before a ledger is opened for writing: the lock that keeps others out, and a file of today's schema."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

from filelock import FileLock, Timeout

from db.engine import identify, writer_engine
from db.errors import StorageBusy, StorageError
from db.migrations import upgrade
from db.tables import APPLICATION_ID, SCHEMA


def locked(path: Path) -> FileLock:
    """The held lock of the ledger at `path`, in a file beside it. Raises StorageBusy while another has it."""
    # no soft lock as a fallback: one that a crash leaves behind would shut the ledger for good
    lock = FileLock(f"{path}.lock", blocking=False, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout as error:
        if not Path(lock.lock_file).exists():  # a folder where nobody makes files, such as those below /proc
            raise StorageError(f"{path}: no file can be made there; choose a folder you may write") from error
        raise StorageBusy(
            f"{path}: open already, here or in another process; wait for it, or use another file"
        ) from error
    except (NotImplementedError, RuntimeError) as error:
        raise StorageError(f"{path}: cannot be locked ({error}); put the ledger on a local disk") from error
    return lock


def prepare(path: Path) -> None:
    """Bring the file to today's schema; a new one is built under another name and moved into place whole."""
    version = identify(path)
    if version is None:
        _create(path)
    elif version < SCHEMA:
        engine = writer_engine(path)
        with engine.begin() as connection:
            upgrade(connection)
    if not os.access(path, os.W_OK):
        raise StorageError(f"{path}: may not be written; change its permissions or use another file")


def _create(path: Path) -> None:
    building = path.with_name(f".{path.name}.simkit-building")
    _clear(building)
    engine = writer_engine(building, journal="delete")
    with engine.begin() as connection:
        upgrade(connection)
        created = [("created", str(time.time())), ("sqlite", sqlite3.sqlite_version)]
        connection.exec_driver_sql("INSERT INTO meta (key, value) VALUES (?, ?)", created)
    writer_engine(building).connect().close()  # to its log: a kill while that is changed in place would leave a journal
    os.replace(building, path)
    _sync_folder(path.parent)


def _clear(building: Path) -> None:
    """Remove what a crash while creating left behind: empty, or begun as a ledger. Anything else is not ours."""
    if building.is_file():
        with building.open("rb") as file:
            header = file.read(72)
        if header and header[68:72] != APPLICATION_ID.to_bytes(4, "big"):
            raise StorageError(f"{building}: not begun by simkit, but in the way of a new ledger; move it elsewhere")
        building.unlink()
    for suffix in ("-journal", "-wal", "-shm"):
        building.with_name(f"{building.name}{suffix}").unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":  # elsewhere a folder cannot be opened; here a power cut could undo the move
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
