"""Creates folders and writes files atomically, with one kind of error for a path that cannot be written."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from pathlib import Path

from db.errors import StorageError


def make_folder(folder: Path) -> None:
    """Create `folder` and its parents if they do not exist. Raises StorageError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder}: the folder cannot be created ({error.strerror}); name another one") from error


def can_hold_files(folder: Path) -> bool:
    """Whether a file can be made in `folder`, tried with one that vanishes at once: permissions alone do not tell."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except (OSError, ValueError):
        return False


def write_atomically(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Write `data` to `path` completely or not at all, even after a power cut. Raises StorageError.

    The file is written under a random name that nobody else has, so that two processes may write one path at once and
    the last one wins; a symbolic link at `path` is replaced, never followed. A failure leaves nothing beside `path`;
    a kill (SIGKILL) in the middle leaves that file, `.simkit-*.tmp`, which nothing reads.
    """
    temporary = path.with_name(f".simkit-{secrets.token_hex(8)}.tmp")
    try:
        _write_new(temporary, data, mode)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be written ({error.strerror}); free some space, or name another folder"
        ) from error
    except ValueError as error:  # a NUL byte in the name
        raise StorageError(f"{str(path)!r}: is no name for a file ({error}); name another one") from error
    finally:
        with contextlib.suppress(OSError, ValueError):
            temporary.unlink(missing_ok=True)  # still there after a failure or an interrupt alone


def _write_new(path: Path, data: bytes, mode: int) -> None:
    """Write a file that is not there yet, and wait for the disk."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Wait until the folder's entries are on the disk; a file system that cannot do so keeps its own promise."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)
