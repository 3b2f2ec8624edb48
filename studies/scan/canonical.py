"""Plain values in their one form, and the hash of that form: what runs, lines and trials are known by."""

from __future__ import annotations

import hashlib
import json


def canonical(value: object) -> str:
    """JSON of which there is only one form: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: object) -> str:
    """SHA-256, in hexadecimal, of the canonical JSON of `value`."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()
