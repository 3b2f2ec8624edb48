"""The default folder for ledgers and other state, which is never in the checkout."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """The folder named by SIMKIT_HOME, or `~/.simkit`; it may not exist yet."""
    return Path(os.environ.get("SIMKIT_HOME") or "~/.simkit").expanduser()
