"""What went wrong with one piece of work among many, in one line."""

from __future__ import annotations

import os
import traceback

from db.errors import StorageError
from oracles.errors import OracleError
from simkit.errors import SimkitError


def told(error: Exception) -> str:
    """An error in one line; of one that nobody foresaw, its kind too, and where it was if SIMKIT_DEBUG is set."""
    if os.environ.get("SIMKIT_DEBUG"):
        traceback.print_exception(error)
    said = " ".join(str(error).split())
    foreseen = isinstance(error, SimkitError | OracleError | StorageError)
    return said if foreseen else f"unexpected {type(error).__name__}: {said} (a bug: SIMKIT_DEBUG=1 shows where)"
