"""Prepares a ledger for writing: takes the lock that keeps other processes out, and creates or upgrades the file."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

from filelock import FileLock, Timeout

from db.engine import identify, writer_engine
from db.errors import StorageBusy, StorageError
from db.layout import refuse_changes
from db.migrations import upgrade
from db.tables import APPLICATION_ID, SCHEMA


def locked(path: Path) -> FileLock:
    """Take the lock of the ledger at `path`, a file beside it. Raises StorageBusy while another process has it."""
    # no fallback to a soft lock: one that a crash leaves behind would block the ledger forever
    lock = FileLock(f"{path}.lock", blocking=False, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout as error:
        if not Path(lock.lock_file).exists():  # a folder where no file can be created, such as those below /proc
            raise StorageError(f"{path}: no file can be created there; choose a folder you may write") from error
        raise StorageBusy(
            f"{path}: already open, here or in another process; wait for it, or use another file"
        ) from error
    except (NotImplementedError, RuntimeError) as error:
        raise StorageError(f"{path}: cannot be locked ({error}); put the ledger on a local disk") from error
    return lock


def prepare(path: Path) -> None:
    """Upgrade the file to the current schema. A new file is created under a temporary name and then moved into
    place. Raises StorageError if the file has a trigger, or a table or view that its schema has otherwise."""
    version = identify(path)
    if version is None:
        _create(path)
    if not os.access(path, os.W_OK):
        raise StorageError(f"{path}: is not writable; change its permissions or use another file")
    with writer_engine(path).begin() as connection:
        refuse_changes(connection, path)
        if version is not None and version < SCHEMA:
            upgrade(connection)


def _create(path: Path) -> None:
    building = path.with_name(f".{path.name}.simkit-building")
    _clear(building)
    engine = writer_engine(building, journal="delete")
    with engine.begin() as connection:
        upgrade(connection)
        created = [("created", str(time.time())), ("sqlite", sqlite3.sqlite_version)]
        connection.exec_driver_sql("INSERT INTO meta (key, value) VALUES (?, ?)", created)
    writer_engine(building).connect().close()  # switches to a write-ahead log here, where a kill does no harm
    os.replace(building, path)
    _sync_folder(path.parent)


def _clear(building: Path) -> None:
    """Remove what a crash during creation left behind: an empty file or an unfinished ledger, but nothing else."""
    if building.is_file():
        with building.open("rb") as file:
            header = file.read(72)
        if header and header[68:72] != APPLICATION_ID.to_bytes(4, "big"):
            raise StorageError(f"{building}: not made by simkit, but in the way of a new ledger; move it elsewhere")
        building.unlink()
    for suffix in ("-journal", "-wal", "-shm"):
        building.with_name(f"{building.name}{suffix}").unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":  # a power cut could undo the move; other systems cannot open a folder
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
