"""Imports of commands that compute with torch, without the garbage collector, which would search them repeatedly."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def lasting_imports() -> Iterator[None]:
    """Collect no garbage while torch is imported, and never search what was imported: it stays until the process ends.

    Saves a third of the processor time of a short scan. Does nothing where torch is imported already.
    """
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
