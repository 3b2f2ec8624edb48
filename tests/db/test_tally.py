"""Refusals of one reason share a row for a minute: sums are exact, also after a failure and a restart."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db import reads, tally
from db.check import check
from db.errors import StorageError
from db.ledger import Ledger
from tests.db.conftest import MakeCall, MakeRun


class Clock:
    now = 1e9

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(tally, "time", made)
    return made


def stored(path: Path) -> list[tuple[int, str]]:
    rows = reads.sql(path, "SELECT queries, reason FROM refusals ORDER BY id").values.tolist()
    return [tuple(row) for row in rows]


def test_a_caller_that_hammers_fills_a_row_a_minute_and_reason(path: Path, make_run: MakeRun, clock: Clock) -> None:
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run())
        for second in range(300):
            clock.now = 1e9 + second
            run.tally(3, "banned")
            run.tally(1, "budget")
        assert stored(path) == [(180, "banned"), (60, "budget")] * 5
        assert run.refused == 1200
    assert check(path) == []


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(1, 50), st.sampled_from(["banned", "budget", "rate"]), st.floats(-90, 90))))
def test_the_sums_of_all_reasons_are_exact_whatever_the_clock_does(
    tmp_path_factory: pytest.TempPathFactory, make_run: MakeRun, refused: list[tuple[int, str, float]]
) -> None:
    path, clock = tmp_path_factory.mktemp("tally") / "ledger.db", Clock()
    wanted = Counter[str]()
    with pytest.MonkeyPatch.context() as patch, Ledger.open(path) as ledger:
        patch.setattr(tally, "time", clock)
        run = ledger.begin(make_run())
        for queries, reason, step in refused:
            clock.now += step
            run.tally(queries, reason)
            wanted[reason] += queries
    found = Counter[str]()
    for queries, reason in stored(path):
        found[reason] += queries
    assert (found, check(path)) == (wanted, [])
    with Ledger.open(path) as ledger:
        assert ledger.begin(make_run()).refused == wanted.total()


def test_a_restart_begins_a_new_row_and_calls_may_stand_between(
    path: Path, make_run: MakeRun, make_call: MakeCall, clock: Clock
) -> None:
    for _ in range(2):
        with Ledger.open(path) as ledger:
            run = ledger.begin(make_run())
            run.tally(2, "rate")
            run.record(make_call())
            run.tally(3, "rate")
    assert (stored(path), check(path)) == ([(5, "rate")] * 2, [])


def test_what_could_not_be_stored_is_stored_with_the_next_one(
    path: Path, make_run: MakeRun, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run())
        for first in (True, False):
            monkeypatch.setattr(tally, "insertion" if first else "seal", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                run.tally(2, "banned")
            monkeypatch.undo()
            monkeypatch.setattr(tally, "time", clock)
            clock.now += 100
            run.tally(3, "banned")
        assert stored(path) == [(5, "banned"), (5, "banned")]
        assert run.refused == 10
    assert check(path) == []


def test_a_refusal_of_nothing_is_refused(path: Path, make_run: MakeRun) -> None:
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run())
        for queries, reason in [(0, "rate"), (1, ""), (1, "two\nlines")]:
            with pytest.raises(StorageError, match="give 1 or more, and one line"):
                run.tally(queries, reason)
        assert run.refused == 0
    assert stored(path) == []
