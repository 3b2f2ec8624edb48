"""Tells whether any process opened, read or changed a file of a folder, through whatever library it did so."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_OPENED, _CHANGED = 0x20 | 0x1, 0x2 | 0x4 | 0xC0 | 0x100 | 0x200
"""IN_OPEN and IN_ACCESS; IN_MODIFY, IN_ATTRIB, IN_MOVE, IN_CREATE and IN_DELETE of inotify(7)."""


@contextmanager
def watched(folder: Path) -> Iterator[list[str]]:
    """The list is filled when the block ends: a name for each event, none where nothing was touched. Linux only."""
    libc, events = ctypes.CDLL(None, use_errno=True), list[str]()
    queue = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert queue >= 0
    assert libc.inotify_add_watch(queue, os.fsencode(folder), _OPENED | _CHANGED) >= 0, os.strerror(ctypes.get_errno())
    try:
        yield events
        with os.fdopen(os.dup(queue), "rb", buffering=0) as stream:
            while data := stream.read(2**16):
                events += _names(data)
    finally:
        os.close(queue)


def _names(data: bytes) -> Iterator[str]:
    """struct inotify_event: four numbers of 32 bits, of which the second tells what happened, and the last the length
    of the name that follows. Looking through the folder itself is left out: any program that lists all files does so.
    """
    while data:
        length, mask = int.from_bytes(data[12:16], "little"), int.from_bytes(data[4:8], "little")
        name = os.fsdecode(data[16 : 16 + length].rstrip(b"\0"))
        if name or mask & _CHANGED:
            yield name
        data = data[16 + length :]
