"""Where the `simkit` command begins, and what Ctrl-C does to it before, while and after its parts are imported."""

from __future__ import annotations

import signal
import sys

from studies.cli.interrupts import INTERRUPTED, WORDS, raise_interrupt


def main() -> int:
    """Run the command and return its exit code."""
    # A shell that starts a command in the background has it ignore interrupts, and it stays so.
    heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if heeded:
        signal.signal(signal.SIGINT, raise_interrupt)
    try:
        from studies.cli.main import main as run

        return run()
    except KeyboardInterrupt:
        print(WORDS, file=sys.stderr)
        return INTERRUPTED
    finally:
        if heeded:  # all is said and stored: an interrupt ends the interpreter where it is, without a traceback
            signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    sys.exit(main())
