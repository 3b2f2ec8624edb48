"""Where state lives when the user names no path: never in the checkout."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """The folder in SIMKIT_HOME, or `~/.simkit`; it may not exist yet."""
    return Path(os.environ.get("SIMKIT_HOME") or "~/.simkit").expanduser()
