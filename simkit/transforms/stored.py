"""Checks of a trigger's stored form, which may come from a stranger's file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from simkit.transforms.contract import ImageShape

_MOST_PIXELS = 1 << 24
_MOST = 1e6
"""No number of a trigger is larger: cycles, shifts in pixels, sides."""

_MOST_PARTS = 256


def image_shape_of(fields: Mapping[str, Any]) -> ImageShape:
    """The stored shape (C, H, W). Raises KeyError, TypeError or ValueError where it is none."""
    channels, height, width = (number(value, 1) for value in fields["image_shape"])
    if channels * height * width > _MOST_PIXELS:
        raise ValueError(f"images of {channels}x{height}x{width}")
    return int(channels), int(height), int(width)


def parts_of(fields: Mapping[str, Any], name: str) -> list[Any]:
    """The stored list of the trigger's parts. Raises KeyError, TypeError or ValueError where it is none."""
    parts = fields[name]
    if not isinstance(parts, list):
        raise TypeError(f"{name} is no list")
    if not 0 < len(parts) <= _MOST_PARTS:
        raise ValueError(f"{len(parts)} {name}; need 1 and at most {_MOST_PARTS}")
    return parts


def number(value: Any, least: float = -_MOST) -> float:
    """A number of at least `least` and at most a million. Raises TypeError or ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    if not math.isfinite(value) or not least <= value <= _MOST:
        raise ValueError(f"{value:.6g} is not between {least:g} and {_MOST:g}")
    return float(value)


def share_of(value: Any) -> float:
    """A number in (0, 1]. Raises TypeError or ValueError."""
    share = number(value)
    if not 0.0 < share <= 1.0:
        raise ValueError(f"{share} is outside (0, 1]")
    return share
