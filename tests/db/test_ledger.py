"""Runs, steps, calls and verdicts: what is charged, what is kept, and what a second opening finds."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from db import reads
from db.check import check
from db.errors import StorageBusy, StorageError
from db.ledger import Ledger
from db.records import CallLike, FloatArray, RunInfo, TriggerRow, VerdictRow

MakeCall = Callable[..., CallLike]
MakeRun = Callable[..., RunInfo]
MakeVerdict = Callable[..., VerdictRow]


def _trigger(target_class: int = 0) -> TriggerRow:
    draw = np.random.default_rng(target_class)
    mask: FloatArray = draw.random((1, 4, 5)).astype(np.float32)
    pattern: FloatArray = draw.random((3, 4, 5)).astype(np.float32)
    return TriggerRow(target_class, mask, pattern, float(mask.sum(dtype=np.float64)), 0.75, 3, 4, True)


def test_a_run_goes_on_where_it_was(path: Path, make_run: MakeRun, make_call: MakeCall) -> None:
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run())
        steps = [run.open_step(number, "search", "{}") for number in range(3)]
        calls = [make_call(step, queries=n + 1, seed=n) for n, step in enumerate(steps)]
        for call in calls:
            run.record(call)
        assert run.spent == 6
    with Ledger.open(path) as ledger:
        again = ledger.begin(make_run())
        assert (again.id, again.spent, again.result()) == (run.id, 6, None)
        stored = list(again.stored_calls())
        assert [again.open_step(number, "search", "{}") for number in range(3)] == steps
        assert again.open_step(3, "verify", "{}") == max(steps) + 1
    assert [call.step for call in stored] == steps
    for was, now in zip(calls, stored, strict=True):
        assert now.rows.dtype == np.int32
        np.testing.assert_array_equal(now.rows, was.rows)
        assert (now.codec, now.answers) == (was.codec, was.answers)
    assert check(path) == []


def test_runs_of_one_file_count_apart(path: Path, make_run: MakeRun, make_call: MakeCall) -> None:
    with Ledger.open(path) as ledger:
        one, two = ledger.begin(make_run("one")), ledger.begin(make_run("two"))
        assert one.open_step(0, "search", "{}") != two.open_step(0, "search", "{}")
        one.record(make_call(queries=4))
        two.record(make_call(queries=5))
        one.record(make_call(queries=6))
        assert (one.spent, two.spent) == (10, 5)
        assert ledger.begin(make_run("one")) is one
    assert reads.runs(path)["spent"].tolist() == [10, 5]
    assert check(path) == []


@pytest.mark.parametrize("change", [{"seed": 8}, {"budget": 5}, {"model_hash": "x"}, {"data_hash": "x"}])
def test_a_key_belongs_to_one_run(path: Path, make_run: MakeRun, change: dict[str, object]) -> None:
    with Ledger.open(path) as ledger:
        ledger.begin(make_run())
        with pytest.raises(StorageError, match="another model, data, seed or budget"):
            ledger.begin(replace(make_run(), **change))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change", [{"key": "abc"}, {"budget": 0}, {"config": "{"}, {"seed": 2**63}, {"model": "\ud800"}]
)
def test_a_run_with_a_wrong_field_is_refused(path: Path, make_run: MakeRun, change: dict[str, object]) -> None:
    with Ledger.open(path) as ledger:
        with pytest.raises(StorageError, match=str(path)) as error:
            ledger.begin(replace(make_run(), **change))  # type: ignore[arg-type]
        assert "\n" not in str(error.value)
        ledger.begin(make_run())
    assert len(reads.runs(path)) == 1


def test_a_step_is_opened_once(path: Path, make_run: MakeRun) -> None:
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run())
        step = run.open_step(0, "check", '{"round": 0}')
        assert run.open_step(0, "check", '{"round": 0}') == step
        with pytest.raises(
            StorageError,
            match="started with other code, other libraries or on another processor; scan into a fresh --db",
        ):
            run.open_step(0, "check", '{"round": 1}')
        with pytest.raises(StorageError, match="purpose check, not search"):
            run.open_step(0, "search", "{}")
    assert reads.steps(path, run.id)["state"].tolist() == ['{"round": 0}']


@pytest.mark.parametrize(
    ("number", "purpose", "state"), [(-1, "search", "{}"), (0, "play", "{}"), (0, "search", '{"a": NaN}')]
)
def test_a_wrong_step_is_refused_before_it_is_queued(
    path: Path, make_run: MakeRun, number: int, purpose: str, state: str
) -> None:
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run())
        with pytest.raises(StorageError, match="step"):
            run.open_step(number, purpose, state)
    assert len(reads.steps(path, run.id)) == 0


def test_a_wrong_call_is_refused_before_it_is_queued(path: Path, make_run: MakeRun, make_call: MakeCall) -> None:
    good = make_call(queries=3)
    wrong = [
        replace(good, rows=good.rows[:2]),  # type: ignore[type-var]
        replace(good, rows=good.rows.astype(np.float32)),  # type: ignore[type-var]
        replace(good, scores=np.zeros(2, np.float32)),  # type: ignore[type-var]
        replace(good, answers=good.answers[:-1]),  # type: ignore[type-var]
        replace(good, codec=""),  # type: ignore[type-var]
        replace(good, step=99),  # type: ignore[type-var]
    ]
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run())
        for call in wrong:
            with pytest.raises(StorageError):
                run.record(call)
        assert run.spent == 0
        run.record(good)
    assert len(reads.queries(path)) == 3
    assert check(path) == []


def test_stored_calls_are_those_committed_before(path: Path, make_run: MakeRun, make_call: MakeCall) -> None:
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run())
        for seed in range(70):  # more than two pages
            run.record(make_call(queries=2, seed=seed))
        run.flush()
        stored = run.stored_calls()
        run.record(make_call(queries=5))
        run.flush()
        sizes = []
        for call in stored:
            sizes.append(len(call.rows))
            run.record(make_call(queries=5))
    assert sizes == [2] * 70


def test_a_damaged_call_is_not_replayed(path: Path, make_run: MakeRun, make_call: MakeCall) -> None:
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run())
        for _ in range(2):
            run.record(make_call())
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE calls SET answers = zeroblob(length(answers)) WHERE number = 1")
    connection.close()
    with Ledger.open(path) as ledger:
        stored = ledger.begin(make_run()).stored_calls()
        next(stored)
        with pytest.raises(StorageError, match="call 1 is damaged"):
            next(stored)


def test_a_refusal_is_kept_at_once_and_costs_nothing(path: Path, make_run: MakeRun) -> None:
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run())
        run.refuse(run.open_step(0, "search", "{}"), 8, "budget")
        run.refuse(None, 2, "budget")
        assert (run.spent, run.refused) == (0, 10)
        with pytest.raises(StorageError, match="refusal of 0"):
            run.refuse(None, 0, "budget")
        assert len(reads.steps(path, run.id)) == 1  # committed while the run is open
    with Ledger.open(path) as ledger:
        assert ledger.begin(make_run()).refused == 10


def test_what_is_found_while_a_run_is_open_is_added_to_its_environment(
    path: Path, make_run: MakeRun, make_call: MakeCall, make_verdict: MakeVerdict
) -> None:
    with Ledger.open(path) as ledger:
        run, other = ledger.begin(make_run("one")), ledger.begin(make_run("two"))
        before = json.loads(reads.runs(path)["environment"][0])
        run.amend({"odd_rows": [[0, 1]], "output": "logits"})
        run.record(make_call())
        run.amend({"odd_rows": [[0, 1], [3, 2]]})
        run.finish(make_verdict(spent=3), ())
        with pytest.raises(StorageError, match="finished"):
            run.amend({"odd_rows": []})
        other.record(make_call())
    one, two = (json.loads(text) for text in reads.runs(path)["environment"])
    assert one == before | {"odd_rows": [[0, 1], [3, 2]], "output": "logits"}
    assert two == before
    assert check(path) == []


def test_a_finished_run_has_its_verdict_and_takes_no_more(
    path: Path, make_run: MakeRun, make_call: MakeCall, make_verdict: MakeVerdict
) -> None:
    verdict, actual = make_verdict(spent=3, verdict="backdoored"), [_trigger(2), _trigger(5)]
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run())
        step = run.open_step(0, "search", "{}")
        run.record(make_call(step))
        run.finish(verdict, actual)
        assert run.result() == verdict
        with pytest.raises(StorageError, match="finished"):
            run.finish(verdict, [])
        with pytest.raises(StorageError, match="finished"):
            run.record(make_call())
        with pytest.raises(StorageError, match="finished"):
            run.refuse(None, 1, "budget")
        with pytest.raises(StorageError, match="finished"):
            run.open_step(1, "search", "{}")
    with Ledger.open(path) as ledger:
        again = ledger.begin(make_run())
        assert again.result() == verdict
        assert again.open_step(0, "search", "{}") == step
        with pytest.raises(StorageError, match="finished"):
            again.finish(verdict, ())
    assert reads.result(path, run.id) == verdict
    for was, now in zip(actual, reads.triggers(path, run.id), strict=True):
        for before, after in ((was.mask, now.mask), (was.pattern, now.pattern)):
            assert before is not None
            assert after is not None
            assert (after.shape, after.tobytes()) == (before.shape, before.tobytes())
        assert now.censored
        assert (now.mask_size, now.success_rate, now.successes, now.trials) == (was.mask_size, 0.75, 3, 4)
    assert check(path) == []


def test_a_verdict_that_cannot_be_stored_leaves_the_run_open(
    path: Path, make_run: MakeRun, make_call: MakeCall, make_verdict: MakeVerdict
) -> None:
    bad_trigger = replace(_trigger(), success_rate=1.5)
    thin = replace(_trigger(), mask=np.zeros((4, 5), np.float32))
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run())
        run.record(make_call())
        for verdict, triggers, words in (
            (make_verdict(spent=2), [], "the ledger counts 3 and 0"),
            (make_verdict(spent=3, refused=1), [], "the ledger counts 3 and 0"),
            (make_verdict(spent=3, verdict="guilty"), [], "verdict_known"),
            (make_verdict(spent=3), [bad_trigger], "success_rate_is_share"),
            (make_verdict(spent=3), [thin], r"give \(1, H, W\)"),
        ):
            with pytest.raises(StorageError, match=words):
                run.finish(verdict, triggers)
        assert run.result() is None
        run.finish(make_verdict(spent=3), [_trigger()])
    assert len(reads.triggers(path, run.id)) == 1
    assert check(path) == []


def test_one_ledger_has_one_writer(path: Path, make_run: MakeRun) -> None:
    with Ledger.open(path), pytest.raises(StorageBusy, match="already open, here or in another process"):
        Ledger.open(path)
    link = path.with_name("link.db")
    link.symlink_to(path)
    with Ledger.open(link), pytest.raises(StorageBusy):
        Ledger.open(path)
    Ledger.open(path).close()


def test_a_closed_ledger_says_so(path: Path, make_run: MakeRun, make_call: MakeCall) -> None:
    ledger = Ledger.open(path)
    run = ledger.begin(make_run())
    ledger.close()
    ledger.close()
    for use in (lambda: run.record(make_call()), run.result, lambda: ledger.begin(make_run())):
        with pytest.raises(StorageError, match="closed"):
            use()


def test_a_call_that_could_not_be_recorded_is_known_before(
    path: Path, make_run: MakeRun, make_verdict: MakeVerdict
) -> None:
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run())
        step = run.open_step(0, "search", "{}")
        run.check_step(step)
        run.check_step(None)
        with pytest.raises(StorageError, match="step id 99 was not opened"):
            run.check_step(99)
        run.finish(make_verdict(), [])
        for late in (step, None):
            with pytest.raises(StorageError, match="finished"):
                run.check_step(late)


def test_threads_may_share_a_run(path: Path, make_run: MakeRun, make_call: MakeCall) -> None:
    calls = [make_call(queries=7, seed=n) for n in range(8)]
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run())

        def work() -> None:
            for call in calls:
                run.record(call)
            run.flush()

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert run.spent == 8 * 8 * 7
    assert check(path) == []


def test_only_an_empty_ledger_is_discarded(path: Path, make_run: MakeRun) -> None:
    with Ledger.open(path) as ledger:
        ledger.discard_if_empty()
        assert not path.exists()
    with Ledger.open(path) as ledger:
        ledger.begin(make_run())
        ledger.discard_if_empty()
    assert len(reads.runs(path)) == 1
