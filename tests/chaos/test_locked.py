"""Another process holds the ledger locked: the scan waits, and then says so; meanwhile nobody is asked anything."""

from __future__ import annotations

import pytest

from tests.chaos.faults import Locked
from tests.chaos.resume import DONE, STORAGE, Lab
from tests.chaos.victims import SHORT


@pytest.mark.parametrize("at", [2, 9])
def test_a_short_lock_is_waited_for(at: int, lab: Lab) -> None:
    broken = lab.broken(SHORT)
    ended = broken.go_on(Locked(str(broken.db), at, seconds=0.5, patience=30_000))
    assert ended.code == DONE, ended.message
    lab.compare(broken)
    lab.count("locks")


@pytest.mark.parametrize("at", [2, 9])
def test_a_long_lock_ends_the_scan_with_nothing_lost(at: int, lab: Lab) -> None:
    """Call `at` was under way when the lock came; no other is begun."""
    broken = lab.broken(SHORT)
    ended = broken.go_on(Locked(str(broken.db), at, seconds=4.0, patience=100))
    assert ended.code == STORAGE
    assert "another program has locked the file" in ended.message
    assert len(ended.asked) == at
    lab.finish(broken)
    lab.count("locks")
