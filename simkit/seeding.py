"""Named random streams: every draw is a function of (seed, names) and not of earlier draws."""

from __future__ import annotations

import hashlib

import numpy as np


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """A generator (Philox) for one purpose, e.g. `stream(7, "b3d", step)`; equal arguments give equal draws.

    seed: 0 or more. Streams with different names are independent for all practical purposes.
    """
    text = "\x1f".join([str(int(seed)), *map(str, names)])
    key = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")
    return np.random.Generator(np.random.Philox(key=key))


def subseed(seed: int, *names: str | int) -> int:
    """A 63-bit seed for libraries that take an integer, by the same names as a stream."""
    return int(stream(seed, *names).integers(2**63))
