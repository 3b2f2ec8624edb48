"""Changes of an API key, as `simkit keys` and the console make them; a running service takes them over."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from simkit.errors import ConfigError
from studies.service.keys import Key, change_key

MOST = 10**12
"""Queries that may be added at once."""


def top_up(path: Path, key_id: str, queries: int) -> Key:
    """Add to the budget of a key. Raises ConfigError if it has none or is revoked, or `queries` is not in [1, MOST]."""
    if not 1 <= queries <= MOST:
        raise ConfigError(f"{queries} queries cannot be added; give a number from 1 to {MOST}")

    def more(key: Key) -> dict[str, Any]:
        _check_valid(key)
        if key.budget is None:
            raise ConfigError(f"key {key_id} has no budget to add to; it is not limited")
        return {"topped_up": key.topped_up + queries}

    return change_key(path, key_id, more)


def revoke(path: Path, key_id: str) -> Key:
    """End a key. Raises ConfigError if there is none of this id."""
    return change_key(path, key_id, lambda _: {"revoked": True})


def pardon(path: Path, key_id: str) -> Key:
    """Lift the bans of a key up to now. Raises ConfigError if there is none of this id, or if it is revoked."""

    def lifted(key: Key) -> dict[str, Any]:
        _check_valid(key)
        return {"pardoned": datetime.now(UTC)}  # to the microsecond, as bans

    return change_key(path, key_id, lifted)


def _check_valid(key: Key) -> None:
    if key.revoked:
        raise ConfigError(f"key {key.id} is revoked and stays so; make another one with `simkit keys new`")
