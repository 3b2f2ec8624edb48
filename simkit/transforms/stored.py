"""Checks of a trigger's stored form, which may come from a stranger's file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from simkit.transforms.contract import ImageShape

_MOST_PIXELS = 1 << 24


def image_shape_of(fields: Mapping[str, Any]) -> ImageShape:
    """The stored shape (C, H, W). Raises KeyError, TypeError or ValueError where it is none."""
    channels, height, width = (number(value, 1) for value in fields["image_shape"])
    if channels * height * width > _MOST_PIXELS:
        raise ValueError(f"images of {channels}x{height}x{width}")
    return int(channels), int(height), int(width)


def number(value: Any, least: float = -math.inf) -> float:
    """A finite number of at least `least`. Raises TypeError or ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    if not math.isfinite(value) or value < least:
        raise ValueError(f"{value} is not finite, or below {least}")
    return float(value)


def share_of(value: Any) -> float:
    """A number in (0, 1]. Raises TypeError or ValueError."""
    share = number(value)
    if not 0.0 < share <= 1.0:
        raise ValueError(f"{share} is outside (0, 1]")
    return share
