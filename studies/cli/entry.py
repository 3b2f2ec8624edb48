"""Where the `simkit` command begins, and what Ctrl-C does to it before, while and after its parts are imported."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from types import FrameType

_INTERRUPTED = 130
_WORDS = "simkit: error: interrupted"


def main() -> int:
    """Run the command and return its exit code."""
    # A shell that starts a command in the background has it ignore interrupts, and it stays so.
    heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if heeded:
        signal.signal(signal.SIGINT, _interrupt)
    try:
        from studies.cli.main import main as run

        return run()
    except KeyboardInterrupt:
        print(_WORDS, file=sys.stderr)
        return _INTERRUPTED
    finally:
        if heeded:  # all is said and stored: an interrupt ends the interpreter where it is, without a traceback
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _interrupt(_signal: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt; end the process where a module is being imported.

    Modules that come in part make up errors of their own: numpy lacks an attribute, torch was loaded twice. An end at
    any moment loses nothing that is stored.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            with contextlib.suppress(Exception):
                sys.stdout.flush()
            with contextlib.suppress(OSError):
                os.write(2, f"{_WORDS}\n".encode())
            os._exit(_INTERRUPTED)
        frame = frame.f_back
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
