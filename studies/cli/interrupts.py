"""What Ctrl-C does to the `simkit` command. Imports nothing that takes time, since it must be there first."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from types import FrameType

INTERRUPTED = 130
WORDS = "simkit: error: interrupted"


def raise_interrupt(_signal: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt; end the process where a module is being imported.

    Modules that come in part make up errors of their own: numpy lacks an attribute, torch was loaded twice. An end at
    any moment loses nothing that is stored.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            with contextlib.suppress(Exception):
                sys.stdout.flush()
            with contextlib.suppress(OSError):
                os.write(2, f"{WORDS}\n".encode())
            os._exit(INTERRUPTED)
        frame = frame.f_back
    raise KeyboardInterrupt


def end_quietly() -> None:
    """Ignore further interrupts: the first has been told, and little is left to do. `timeout` sends two of them."""
    if signal.getsignal(signal.SIGINT) is raise_interrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
