"""The progress callback of scans, tuning, replays and training."""

from __future__ import annotations

from typing import Protocol


class OnProgress(Protocol):
    """Called while work proceeds, from the thread that does it."""

    def __call__(self, done: int, total: int | None, note: str = "", /) -> None:
        """done: finished units out of `total`. total: None if it is unknown. note: a few words."""
        ...


def unheard(_done: int, _total: int | None, _note: str = "", /) -> None:
    """An `OnProgress` that ignores every call."""
