"""Presets that once had another name: ledgers and lines of results from then are read as if they were written today."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

FORMER_NAMES: Mapping[str, str] = MappingProxyType({"efficient": "b3d", "slides": "b3d-slides"})
"""Today's name by the former one."""


def current_name(name: str) -> str:
    """What a preset or detector that a stored file names is called today."""
    return FORMER_NAMES.get(name, name)


def current_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a stored run or line, with its preset, where it names one, by today's name."""
    preset = config.get("preset")
    return dict(config) | ({"preset": current_name(preset)} if isinstance(preset, str) else {})
