"""What a failure around an answer costs: never a query without its answer; and what waiting calls may still get."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from db import reads, service_rows
from db.check import check
from db.errors import StorageError
from db.records import CallLike
from db.run import Run
from db.service_records import Beside
from db.writer import Writer
from oracles.spec import OracleSpec
from oracles.watch.settings import WatchSpec
from oracles.watch.watched import Watched
from oracles.wire.contract import Problem, Question
from oracles.wire.oip import OpenInference
from studies.service.gate import Gate, RateState
from studies.service.keys import Key, KeyFile
from tests.studies.service.conftest import Blocking, OpenGate, asked, images_of, key_of, sent
from tests.studies.service.served import Provider, question

NOISY = OracleSpec(score_noise=0.05, input_noise=0.02, decimals=3, seed=4)
BANNING = OracleSpec(watch=WatchSpec(detector="blacklight", action="ban"))


def told(gate: Gate, key: Key, seed: int, idempotency: str | None = None) -> str | bytes:
    """The bytes of the answer, or the kind of the refusal."""
    asking = asked(2, seed)
    try:
        return gate.call(key, "m", asking, sent(asking, idempotency)).data
    except Problem as problem:
        return problem.kind


def denied(*_: object) -> object:
    raise StorageError("the disk is full")


@pytest.mark.parametrize("error", [MemoryError, StorageError, KeyboardInterrupt])
@pytest.mark.parametrize("stored", [False, True])
def test_an_error_of_any_kind_after_the_model_leaves_budget_and_noise_as_the_ledger_has_them(
    opened: OpenGate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException], stored: bool
) -> None:
    """stored: whether the error comes after the call is in the ledger."""
    record, key, gate = Run.record, key_of(budget=20), opened(NOISY)
    wanted = [told(gate, key_of("lab00001"), seed) for seed in range(3)]

    def failing(run: Run, call: CallLike, beside: Beside | None = None) -> None:
        if stored:
            record(run, call, beside)
        raise error

    actual = [told(gate, key, 0)]
    monkeypatch.setattr(Run, "record", failing)
    if error is KeyboardInterrupt:
        with pytest.raises(KeyboardInterrupt):
            told(gate, key, 1, "k")
    else:
        assert told(gate, key, 1, "k") in ("failed", "unavailable")
    monkeypatch.undo()
    assert gate.remaining(key) == (16 if stored else 18)
    actual += [told(gate, key, 1, "k"), told(gate, key, 2)]
    assert len(set(wanted)) == 3
    assert actual == wanted
    assert gate.remaining(key) == 14
    assert check(tmp_path / "provider.db") == []


def test_a_detector_that_fails_gives_the_budget_back(opened: OpenGate, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> object:
        raise MemoryError

    gate, key = opened(BANNING), key_of(budget=5)
    monkeypatch.setattr(Watched, "after", failing)
    assert told(gate, key, 0) == "failed"
    monkeypatch.undo()
    assert gate.remaining(key) == 5
    assert gate.call(key, "m", asked(), sent(asked())).remaining == 3


def alarms(tmp_path: Path) -> list[list[object]]:
    frame = reads.sql(tmp_path / "provider.db", "SELECT first, action FROM alarms ORDER BY id")
    found: list[list[object]] = frame.values.tolist()
    return found


def test_a_ban_is_stored_with_the_answer_that_causes_it_or_the_call_costs_nothing(
    opened: OpenGate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, key, same = opened(BANNING), key_of(budget=100), Question(np.repeat(images_of(1, 3), 4, 0))
    with monkeypatch.context() as patch:
        patch.setattr(service_rows, "_alarm_rows", denied)
        with pytest.raises(Problem) as caught:
            gate.call(key, "m", same, sent(same, "k"))
        assert (caught.value.kind, gate.remaining(key), alarms(tmp_path)) == ("unavailable", 100, [])
    assert told(gate, key, 0) != "banned", "nothing happened"
    gate = opened(BANNING)
    outcome = gate.call(key, "m", same, sent(same, "k"))
    assert (outcome.charged, [first for first, _ in alarms(tmp_path)]) == (4, [3, 4, 5])
    assert told(gate, key, 1) == "banned"
    assert told(opened(BANNING), key, 1) == "banned", "after a restart"


def test_a_ban_on_a_full_disk_holds_once_it_is_stored_and_is_told_then(
    opened: OpenGate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call and its alarms stay in memory together, and are charged."""
    gate, key, same = opened(BANNING), key_of(budget=100), Question(np.repeat(images_of(1, 3), 4, 0))
    told(gate, key, 0)
    with monkeypatch.context() as patch:
        patch.setattr(Writer, "transaction", denied)
        for _ in range(2):
            with pytest.raises(Problem) as caught:
                gate.call(key, "m", same, sent(same, "k"))
            assert (caught.value.kind, gate.remaining(key)) == ("unavailable", 94)
    assert alarms(tmp_path) == []
    assert told(gate, key, 0) == "banned"
    assert alarms(tmp_path) == [[3, "ban"], [4, "ban"], [5, "ban"]]
    assert told(opened(BANNING), key, 0) == "banned", "after a restart"
    assert check(tmp_path / "provider.db") == []


def test_a_paid_answer_is_told_where_the_rates_cannot_be(service: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> tuple[RateState, ...]:
        raise Problem("unavailable", "the service cannot answer for now; ask again", 1.0)

    key = service.key(budget=10)
    monkeypatch.setattr(service.gate, "rates", away)
    reply = service.send(question(OpenInference(), key))
    assert (reply.status, reply.headers["simkit-charged"], reply.headers["simkit-remaining"]) == (200, "1", "9")


def test_a_retry_gets_its_paid_answer_after_the_rate_was_lowered(opened: OpenGate) -> None:
    gate, many = opened(), asked(8)
    first = gate.call(key_of(rate="10/second"), "m", many, sent(many, "k"))
    lowered = key_of(rate="4/second")
    again = gate.call(lowered, "m", many, sent(many, "k"))
    assert (again.replayed, again.data) == (True, first.data)
    with pytest.raises(Problem, match="exceed the rate limit's burst"):
        gate.call(lowered, "m", many, sent(many, "another"))


def test_a_call_that_waits_is_refused_once_its_key_is_revoked(opened: OpenGate) -> None:
    model, keys = Blocking(), [key_of(budget=10)]
    gate = opened(oracle=model)

    def waiting(seed: int) -> str | int:
        try:
            return gate.call(
                key_of(budget=10), "m", asked(2, seed), replace(sent(asked(2, seed)), key_now=lambda: keys[0])
            ).charged
        except Problem as problem:
            return problem.kind

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(waiting, 0)
        assert model.entered.wait(10)
        second = pool.submit(waiting, 1)
        time.sleep(0.05)
        keys[0] = key_of(budget=10, revoked=True)
        model.go.set()
        assert (first.result(20), second.result(20)) == (2, "expired")
    assert gate.remaining(key_of(budget=10)) == 8


def test_a_call_over_http_brings_the_key_as_the_file_has_it(service: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    key = service.key(budget=10)
    monkeypatch.setattr(KeyFile, "current", lambda _, found: found.model_copy(update={"revoked": True}))
    assert b"this key has ended" in service.send(question(OpenInference(), key)).body
    monkeypatch.undo()
    assert service.send(question(OpenInference(), key)).headers["simkit-remaining"] == "9"


def test_refusals_by_the_rate_of_a_model_take_nothing_from_the_rate_of_the_key(opened: OpenGate) -> None:
    gate, key, asking = opened(OracleSpec(rate_limit="2/hour")), key_of(rate="10/hour"), asked(2)
    kinds = [told(gate, key, 0) for _ in range(6)]
    assert kinds[1:] == ["rate"] * 5
    assert {state.name: state.left for state in gate.rates(key, "m")} == {"m": 0, "key": 8}
    assert gate.call(key, "other", asking, sent(asking)).charged == 2


def test_twins_are_counted_among_the_calls_that_wait(opened: OpenGate) -> None:
    model = Blocking()
    gate, key = opened(oracle=model), key_of(budget=10)
    with ThreadPoolExecutor(80) as pool:
        calls = [pool.submit(told, gate, key, 0, "k")]
        assert model.entered.wait(10)
        calls += [pool.submit(told, gate, key, 0, "k") for _ in range(79)]
        until = time.monotonic() + 10
        while sum(call.done() for call in calls) < 15 and time.monotonic() < until:
            time.sleep(0.01)
        model.go.set()
        results = [call.result(20) for call in calls]
    assert results.count("unavailable") == 15, "one runs and 64 wait"
    assert len(set(results)) == 2
    assert gate.remaining(key) == 8
