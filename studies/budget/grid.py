"""Round budgets that cover what was asked."""

from __future__ import annotations

from collections.abc import Collection

_STEPS = (1, 2, 3, 5)
"""Of every decade."""

LEAST = 8
"""Budgets of a grid, at least."""


def covering(amounts: Collection[int]) -> tuple[int, ...]:
    """1, 2, 3 and 5 of every decade, from the last one that no amount is below to the first that none is above.

    amounts: in queries, one or more of 1 or more. Where that gives fewer than 8 budgets, it goes on at both ends.
    """
    low, high = min(amounts), max(amounts)
    steps = [step * 10**decade for decade in range(len(str(high)) + 3) for step in _STEPS]
    first = max(i for i, step in enumerate(steps) if step <= low)
    last = min(i for i, step in enumerate(steps) if step >= high)
    while last - first + 1 < LEAST:
        last += 1
        first = max(0, first - 1)
    return tuple(steps[first : last + 1])
