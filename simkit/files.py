"""Creates folders and writes files atomically, with one kind of error for a path that cannot be written."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import tempfile
from pathlib import Path

from db.errors import StorageError

_FULL = "free some space, or name another folder"
_ADVICE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EIO), _FULL),
    errno.EISDIR: "name a file, not a folder",
    errno.ENOTDIR: "name another folder",
    errno.ENAMETOOLONG: "name another file, with a shorter name",
}
_OTHERWISE = "name another folder"


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
    the last one wins; a symbolic link at `path` is replaced, never followed. A file that is replaced keeps its
    permissions; mode: those of a new one, without the bits of the umask. A failure leaves nothing beside `path`;
    a kill (SIGKILL) in the middle leaves that file, `.simkit-*.tmp`, which nothing reads.
    """
    temporary = path.with_name(f".simkit-{secrets.token_hex(8)}.tmp")
    try:
        _write_new(temporary, data, mode, _permissions(path, mode))
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be written ({error.strerror}); {_ADVICE.get(error.errno or 0, _OTHERWISE)}"
        ) from error
    except ValueError as error:  # a NUL byte in the name
        raise StorageError(f"{str(path)!r}: is no name for a file ({error}); name another one") from error
    finally:
        with contextlib.suppress(OSError, ValueError):
            temporary.unlink(missing_ok=True)  # still there after a failure or an interrupt alone


def _permissions(path: Path, mode: int) -> int | None:
    """Those of a regular file at `path`, without reading and writing that `mode` forbids; None if there is none."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    return status.st_mode & (mode | 0o111) if stat.S_ISREG(status.st_mode) else None


def _write_new(path: Path, data: bytes, mode: int, kept: int | None) -> None:
    """Write a file that is not there yet, and wait for the disk. kept: its permissions, whatever the umask."""
    handle = os.open(
        path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode if kept is None else mode & kept
    )
    with os.fdopen(handle, "wb") as file:
        if kept is not None:
            os.fchmod(handle, kept)
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
