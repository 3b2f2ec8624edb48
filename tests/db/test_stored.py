"""A run as a replay reads it: all of it, in order, and the file as it was."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from db.errors import StorageError, UnknownRun
from db.ledger import Ledger
from db.stored import StoredRun
from tests.db.conftest import MakeCall, MakeRun


@pytest.fixture
def filled(path: Path, make_call: MakeCall, make_run: MakeRun) -> Path:
    """Two runs; the first has 70 calls of 3 queries in two steps, some of them external, and a refusal."""
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run())
        steps = [run.open_step(0, "check", "{}"), run.open_step(1, "search", '{"round":1}'), None]
        for number in range(70):
            run.record(make_call(steps[number % 3], seed=number))
        run.refuse(steps[1], 5, "budget")
        ledger.begin(make_run("other", seed=8)).record(make_call(None, queries=2))
    return path


def test_everything_of_one_run_in_order(filled: Path, make_call: MakeCall, make_run: MakeRun) -> None:
    before = filled.read_bytes()
    run = StoredRun.read(filled, 1)
    assert run.info == make_run()
    assert (run.id, run.state, run.queries) == (1, "open", 210)
    assert [(n, s.purpose, s.state) for n, s in run.steps.items()] == [(0, "check", "{}"), (1, "search", '{"round":1}')]
    assert run.refused == {run.steps[1].id: "budget"}
    calls = list(run.calls())
    assert [call.step for call in calls[:3]] == [run.steps[0].id, run.steps[1].id, None]
    for number, call in enumerate(calls):
        recorded = make_call(seed=number)
        assert (call.answers, call.rows.tolist()) == (recorded.answers, recorded.rows.tolist())
    assert len(calls) == 70
    assert filled.read_bytes() == before


def test_what_was_spent_before_some_steps(filled: Path) -> None:
    run = StoredRun.read(filled, 1)
    check, search = (step.id for step in run.steps.values())
    told = [run.spent_before(steps) for steps in ([check], [search], [search, check], [])]
    assert told == [0, 3, 0, None]
    assert run.spent_before([10**6]) is None


def test_calls_that_come_later_are_not_read(filled: Path, make_call: MakeCall, make_run: MakeRun) -> None:
    run = StoredRun.read(filled, 1)
    with Ledger.open(filled) as ledger:
        ledger.begin(make_run()).record(make_call(None, queries=4))
    assert sum(len(call.rows) for call in run.calls()) == 210


@pytest.mark.parametrize(("run", "told"), [(None, "which run is meant.*1, 2"), (3, "no run 3.*1, 2")])
def test_a_run_that_is_not_there_or_not_the_only_one(run: int | None, told: str, filled: Path) -> None:
    with pytest.raises(UnknownRun, match=told):
        StoredRun.read(filled, run)


def test_the_only_run_needs_no_number(path: Path, make_run: MakeRun) -> None:
    with Ledger.open(path) as ledger:
        ledger.begin(make_run())
    run = StoredRun.read(path)
    assert (run.id, run.queries, list(run.calls())) == (1, 0, [])


def test_a_damaged_call_is_told(filled: Path) -> None:
    with sqlite3.connect(filled) as connection:
        connection.execute("UPDATE calls SET answers = zeroblob(length(answers)) WHERE run_id = 1 AND number = 40")
    calls = StoredRun.read(filled, 1).calls()
    assert len([next(calls) for _ in range(40)]) == 40
    with pytest.raises(StorageError, match=r"call 40 is damaged"):
        next(calls)
