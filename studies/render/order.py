"""The one order in which the classes of a result are listed and drawn, so that tables, pictures and notes agree."""

from __future__ import annotations

from typing import TypeAlias

Place: TypeAlias = tuple[bool, bool, float, float]


def place(*, flagged: bool, censored: bool, size: float, rate: float | None) -> Place:
    """A sort key of a class: flagged ones first, then the smallest triggers that work, then those that do not work.

    Of these, the one that turned the largest share of unseen images comes first, and those that were never tried come
    last. size: of its trigger, in pixels. rate: its success rate on unseen images, None without a trial.
    """
    failed = 0.0 if not censored else 1.0 if rate is None else -rate
    return not flagged, censored, failed, size
