"""The canonical form of plain values and its hash, which identify runs, result lines and trials."""

from __future__ import annotations

import hashlib
import json


def canonical(value: object) -> str:
    """The canonical JSON of a value, with sorted keys, no spaces and no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: object) -> str:
    """SHA-256, in hexadecimal, of the canonical JSON of `value`."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()
