"""The one door for files from outside: regular files only, opened without waiting, read once, under a cap."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

MODEL_BYTES = 2**33
"""8 GiB: the largest image classifiers have about 2 billion parameters of 4 bytes."""

DATA_BYTES = 2**35
"""32 GiB of images in one file; such files are read in parts."""

ARRAYS_BYTES = 2**33
"""8 GiB: an archive of arrays is read as a whole."""

IMAGE_BYTES = 2**27
"""128 MiB for one encoded image: more than the largest photographs take, uncompressed."""

MANIFEST_BYTES = 2**28
"""256 MiB: a manifest of 100,000 victims, the most a zoo may have, takes about 120 MB."""

TEXT_BYTES = 2**20
"""1 MiB for a file that somebody wrote by hand: a study, a spec, the names of classes."""

RESULTS_BYTES = 2**29
"""512 MiB of result lines: several 100,000 scans."""

LINE_BYTES = 2**22
"""4 MiB for one result line; a line takes some KB."""

_KINDS = (
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class OutsideError(OSError):
    """A file that is not read, though it is there; `strerror` says why."""


@dataclass(frozen=True, eq=False)
class OutsideFile:
    """A file that was read: whatever is hashed, checked or loaded is `data`, and the path is not opened again."""

    path: Path
    data: bytes

    @cached_property
    def sha256(self) -> str:
        """Hash of the bytes, hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def text(self) -> str:
        """The bytes as UTF-8. Raises UnicodeDecodeError, which is a ValueError."""
        return self.data.decode("utf-8")


def read_outside(path: str | Path, most: int, *, growing: bool = False) -> OutsideFile:
    """The whole file. most: number of bytes above which nothing is read.

    growing: other processes may add to the file meanwhile; what was there when it was opened is read. Raises OSError;
    OutsideError for anything but a regular file, for a larger one, and for one that changes while it is read.
    """
    with open_outside(path, most) as file:
        before = os.fstat(file.fileno())
        data = file.read(before.st_size)
        after = os.fstat(file.fileno())
    same = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    if len(data) < before.st_size or not (same or growing):
        raise OutsideError(errno.EBUSY, "It changed while it was read; wait until its writer has ended", str(path))
    return OutsideFile(Path(path), data)


def open_outside(path: str | Path, most: int) -> BinaryIO:
    """The opened file, for a format that is read in parts: always the same file, also if the path is replaced.

    Raises OSError; OutsideError for anything but a regular file, and for one of more than `most` bytes.
    """
    try:
        _check(os.stat(path), path, most)  # opening alone may rewind a tape or start a device
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except ValueError as error:
        raise OutsideError(errno.EINVAL, f"No file has such a name ({error})", str(path)) from error
    try:
        _check(os.fstat(handle), path, most)  # another file may have taken the name meanwhile
        return open(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def reason(error: Exception) -> str:
    """Why a file cannot be read, without the number of the error and the path."""
    return str(getattr(error, "strerror", None) or error)


def _check(about: os.stat_result, path: str | Path, most: int) -> None:
    if stat.S_ISDIR(about.st_mode):
        raise OutsideError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(about.st_mode):
        kind = next((name for holds, name in _KINDS if holds(about.st_mode)), "something else")
        raise OutsideError(errno.EINVAL, f"It is {kind}, not a regular file", str(path))
    if about.st_size > most:
        raise OutsideError(errno.EFBIG, f"It has {about.st_size:,} bytes, and at most {most:,} are read", str(path))
