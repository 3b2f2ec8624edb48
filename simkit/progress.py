"""How whoever waits for some work is told how far it is: one callback for scans, tuning, replays and training."""

from __future__ import annotations

from typing import Protocol


class OnProgress(Protocol):
    """Called as work goes on, from the thread that does it."""

    def __call__(self, done: int, total: int | None, note: str = "", /) -> None:
        """done: of `total` units, which the caller names; total: None where nobody knows it. note: a few words."""
        ...


def unheard(_done: int, _total: int | None, _note: str = "", /) -> None:
    """Satisfies `OnProgress` for work that nobody waits for."""
