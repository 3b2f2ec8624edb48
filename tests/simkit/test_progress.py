"""One kind of progress callback: what shows it, and what says nothing, take the same words."""

from __future__ import annotations

import sys

import pytest

from simkit.progress import OnProgress, unheard
from studies.cli.output import progress_bar


def test_whoever_tells_may_leave_out_the_total_and_the_note(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[tuple[int, int | None, str]] = []

    def listener(done: int, total: int | None, note: str = "", /) -> None:
        heard.append((done, total, note))

    def work(progress: OnProgress) -> None:
        progress(1, 2)
        progress(2, None, "done")

    work(listener)
    work(unheard)
    assert heard == [(1, 2, ""), (2, None, "done")]
    with progress_bar("work", quiet=True) as quiet:
        assert quiet is unheard
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress_bar("work") as shown:
        assert shown is not unheard
        work(shown)
