"""Where the `simkit` command begins: an interrupt while it imports its parts ends it as any other interrupt does."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command and return its exit code."""
    try:
        from studies.cli.main import main as run

        return run()
    except KeyboardInterrupt:
        print("simkit: error: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
