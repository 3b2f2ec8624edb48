"""What a failure of the machine around an answer costs: never a query without its answer, nor an answer twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from db import reads
from db.check import check
from db.errors import StorageError
from db.records import CallLike
from db.run import Run
from db.service_records import AlarmLike, Beside
from oracles.spec import OracleSpec
from oracles.watch.settings import WatchSpec
from oracles.watch.watched import Watched
from oracles.wire.contract import Problem, Question
from oracles.wire.oip import OpenInference
from studies.service.gate import Gate, RateState
from studies.service.keys import Key
from tests.studies.service.conftest import OpenGate, asked, images_of, key_of, sent
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


def test_an_answer_is_given_where_its_alarms_cannot_be_stored_and_the_ban_is_kept(
    opened: OpenGate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alarm = Run.alarm

    def failing(run: Run, *alarms: AlarmLike) -> None:
        raise StorageError("the disk is busy")

    gate, key, same = opened(BANNING), key_of(budget=100), Question(np.repeat(images_of(1, 3), 4, 0))
    monkeypatch.setattr(Run, "alarm", failing)
    outcome = gate.call(key, "m", same, sent(same, "k"))
    assert (outcome.charged, outcome.remaining) == (4, 96)
    assert told(gate, key, 0) == "banned"
    monkeypatch.setattr(Run, "alarm", alarm)
    assert told(gate, key, 0) == "banned"
    frame = reads.sql(tmp_path / "provider.db", "SELECT first, action FROM alarms ORDER BY id")
    assert frame.values.tolist() == [[1, "ban"], [2, "ban"], [3, "ban"]]
    assert told(opened(BANNING), key, 0) == "banned", "after a restart"
    assert gate.remaining(key) == 96


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
