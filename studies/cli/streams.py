"""The output streams of a command: closed ones, full ones, and readers that have seen enough."""

from __future__ import annotations

import contextlib
import os
import sys
from io import TextIOWrapper
from typing import TextIO


def prepare_streams() -> None:
    """Let every command print: where a stream is closed, to nowhere; characters that it cannot hold are written out."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None or stream.closed:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (it stays until the end)
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def settle_streams() -> None:
    """Print what is left to print, or drop it where that fails, since the interpreter would end with exit code 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # full, gone, or closed by the command
            abandon(stream)


def abandon(stream: TextIO) -> None:
    """Send what is still to be printed on the stream to nowhere."""
    with contextlib.suppress(OSError, ValueError):  # a stream without a file, as in a test, keeps it
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
