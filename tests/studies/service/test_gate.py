"""What a call costs, what a retry gets, in which order calls are answered, and what a restart keeps."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import torch

from db import reads
from db.check import check
from db.errors import StorageError, StorageFull
from db.ledger import Ledger
from db.records import CallLike
from db.run import Run
from db.service_records import Alarm, Beside
from oracles.answers import Answer, encode
from oracles.budget import Budget
from oracles.errors import InvalidSpec, RateExceeded, Refused
from oracles.meter import MemoryRecorder
from oracles.spec import OracleSpec, build
from oracles.watch.settings import WatchSpec
from oracles.wire.contract import Problem
from studies.service.gate import Gate, Outcome
from studies.service.keys import Key
from studies.service.session import restricted
from tests.oracles.fakes import LinearOracle
from tests.studies.service.conftest import Blocking, OpenGate, alarmed, asked, images_of, key_of, open_gate, sent

NOISY = OracleSpec(score_noise=0.05, input_noise=0.02, decimals=3, seed=4)


def ask(gate: Gate, key: Key, count: int = 2, seed: int = 0, idempotency: str | None = None) -> Outcome:
    question = asked(count, seed)
    return gate.call(key, "m", question, sent(question, idempotency))


def refusal(gate: Gate, key: Key, count: int = 2, seed: int = 0, idempotency: str | None = None) -> Problem:
    with pytest.raises(Problem) as caught:
        ask(gate, key, count, seed, idempotency)
    return caught.value


def refusals(path: Path) -> list[tuple[int, str]]:
    frame = reads.sql(path, "SELECT queries, reason FROM refusals ORDER BY id")
    return [tuple(row) for row in frame.values.tolist()]


def charged(path: Path) -> int:
    return int(reads.sql(path, "SELECT coalesce(sum(charged), 0) AS n FROM calls")["n"][0])


def test_an_answer_is_charged_and_stored_as_it_is_told(opened: OpenGate, tmp_path: Path) -> None:
    outcome = ask(opened(), key_of(budget=10), 3)
    assert (outcome.charged, outcome.replayed, outcome.remaining) == (3, False, 7)
    assert (outcome.codec, outcome.data) == encode(outcome.answer)
    assert (charged(tmp_path / "provider.db"), check(tmp_path / "provider.db")) == (3, [])


def test_a_retry_gets_the_same_answer_for_free_also_after_a_restart(opened: OpenGate, tmp_path: Path) -> None:
    gate, key = opened(NOISY), key_of(budget=10)
    first = ask(gate, key, idempotency="k")
    for restart in (False, True):
        gate = opened(NOISY) if restart else gate
        again = ask(gate, key, idempotency="k")
        assert (again.charged, again.replayed, again.remaining) == (0, True, 8)
        assert (again.codec, again.data) == (first.codec, first.data)
        assert encode(again.answer) == (first.codec, first.data)
    assert charged(tmp_path / "provider.db") == 2


def test_another_question_under_the_same_idempotency_key_is_refused(opened: OpenGate, tmp_path: Path) -> None:
    gate, key = opened(), key_of()
    ask(gate, key, idempotency="k")
    assert refusal(gate, key, seed=1, idempotency="k").kind == "key_reused"
    assert ask(gate, key_of("lab00001"), seed=1, idempotency="k").charged == 2, "the scope is one key"
    assert refusals(tmp_path / "provider.db") == [(2, "key_reused")]


def test_a_twin_waits_for_the_call_that_runs_and_shares_its_answer(opened: OpenGate, tmp_path: Path) -> None:
    model = Blocking()
    gate, key = opened(oracle=model), key_of()
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(ask, gate, key, idempotency="k")]
        assert model.entered.wait(10)
        calls += [pool.submit(ask, gate, key, idempotency="k") for _ in range(3)]
        assert refusal(gate, key, seed=1, idempotency="k").kind == "key_reused"
        model.go.set()
        outcomes = [call.result(20) for call in calls]
    assert [outcome.charged for outcome in outcomes] == [2, 0, 0, 0]
    assert len({outcome.data for outcome in outcomes}) == 1
    assert (model.images_seen, charged(tmp_path / "provider.db")) == (2, 2)


def test_a_failed_model_charges_nothing_and_the_same_key_may_try_again(opened: OpenGate, tmp_path: Path) -> None:
    model = LinearOracle(failing=True)
    gate, key = opened(oracle=model), key_of(budget=2)
    problem = refusal(gate, key, idempotency="k")
    assert (problem.kind, problem.message) == ("failed", "the model failed; nothing was charged")
    assert gate.remaining(key) == 2
    model.failing = False
    assert ask(gate, key, idempotency="k").charged == 2
    assert refusals(tmp_path / "provider.db") == [(2, "failed")]


def test_an_error_of_any_kind_in_a_model_is_told_without_its_words(opened: OpenGate) -> None:
    class Odd(LinearOracle):
        def query(self, images: torch.Tensor, tag: object = None) -> Answer:
            raise ZeroDivisionError("a secret of the provider")

    gate, key = opened(oracle=Odd()), key_of(budget=5)
    assert "secret" not in refusal(gate, key).message
    assert gate.remaining(key) == 5


def test_a_call_is_all_or_nothing_at_the_end_of_the_budget(opened: OpenGate, tmp_path: Path) -> None:
    gate, key = opened(), key_of(budget=5)
    ask(gate, key, 3)
    problem = refusal(gate, key, 3, seed=1)
    assert (problem.kind, problem.remaining) == ("budget", 2)
    assert ask(gate, key, 2, seed=1).remaining == 0
    assert charged(tmp_path / "provider.db") == 5
    assert refusals(tmp_path / "provider.db") == [(3, "budget")]


def test_one_budget_holds_over_all_models_and_over_a_restart(opened: OpenGate) -> None:
    gate, key = opened(), key_of(budget=5)
    question = asked(3)
    gate.call(key, "other", question, sent(question))
    assert refusal(gate, key, 3).remaining == 2
    gate = opened()
    assert gate.remaining(key) == 2
    assert refusal(gate, key, 3).remaining == 2


def test_top_up_lowering_and_revoking_count_from_the_next_call(opened: OpenGate) -> None:
    gate, key = opened(), key_of(budget=2)
    ask(gate, key)
    assert refusal(gate, key, seed=1).kind == "budget"
    assert ask(gate, key_of(budget=2, topped_up=3), seed=1).remaining == 1
    assert refusal(gate, key_of(budget=1), 1).remaining == 0
    assert refusal(gate, key_of(revoked=True)).kind == "expired"
    past = datetime.now(UTC) - timedelta(seconds=1)
    assert refusal(gate, key_of(expires=past)).kind == "expired"
    assert ask(gate, key_of(expires=past + timedelta(days=1)), seed=2).charged == 2


def test_a_book_that_cannot_be_read_is_told_as_a_service_that_is_away(
    opened: OpenGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object) -> object:
        raise StorageError("the connection is lost")

    gate = opened()
    for method in ("caller", "begin"):
        monkeypatch.setattr(Ledger, method, lost)
        assert refusal(gate, key_of()).kind == "unavailable"
        monkeypatch.undo()
    monkeypatch.setattr(Ledger, "recent", lost)
    assert refusal(gate, key_of(rate="4/hour")).kind == "unavailable"
    monkeypatch.undo()
    assert ask(gate, key_of(rate="4/hour")).charged == 2


def test_noise_goes_on_after_an_answer_that_could_not_be_stored(
    opened: OpenGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise StorageError("refused")

    gate, key = opened(NOISY), key_of()
    actual = [one(gate, key, 0)]
    monkeypatch.setattr(Run, "record", refused)
    assert one(gate, key, 1) == ("unavailable", b"")
    monkeypatch.undo()
    actual += [one(gate, key, 1), one(gate, key, 2)]
    assert actual == sequential(NOISY, [0, 1, 2])


def test_a_key_asks_only_its_models(opened: OpenGate) -> None:
    gate = opened()
    assert refusal(gate, key_of(models=("other",))).kind == "unknown_model"
    with pytest.raises(Problem, match="no model 'nothing' for this key"):
        gate.call(key_of(), "nothing", asked(), sent(asked()))


def test_a_rate_is_told_with_its_wait_and_costs_nothing(opened: OpenGate, tmp_path: Path) -> None:
    gate = opened(OracleSpec(rate_limit="4/hour"))
    key = key_of(budget=100)
    ask(gate, key, 3)
    problem = refusal(gate, key, 2, seed=1)
    assert problem.kind == "rate"
    assert problem.retry_after == pytest.approx(900, abs=5)
    assert ask(gate, key, 1, seed=1).remaining == 96
    assert refusal(gate, key, 5).kind == "too_large"
    (state,) = gate.rates(key, "m")
    assert (state.name, state.quota, state.left, state.window) == ("m", 4, 0, 3600)
    assert refusals(tmp_path / "provider.db") == [(2, "rate"), (5, "too_large")]


def test_the_rate_of_a_key_counts_over_its_models_and_a_restart_gives_none_back(opened: OpenGate) -> None:
    spec, key = OracleSpec(rate_limit="10/hour"), key_of(rate="4/hour")
    gate, question = opened(spec), asked(2)
    gate.call(key, "other", question, sent(question))
    ask(gate, key, 1)
    for restart in (False, True):
        gate = opened(spec) if restart else gate
        assert [(state.name, state.left) for state in gate.rates(key, "m")] == [("key", 1), ("m", 9)]
        assert refusal(gate, key, 2).kind == "rate"
    assert ask(gate, key, 1, seed=1).charged == 1


def test_near_duplicates_are_remembered_over_a_restart(opened: OpenGate) -> None:
    spec = OracleSpec(near_duplicate=0.02, near_duplicate_window=6)
    gate, key = opened(spec), key_of()
    ask(gate, key, 4)
    assert refusal(gate, key, 4).kind == "near_duplicate"
    gate = opened(spec)
    assert refusal(gate, key, 4).kind == "near_duplicate"
    ask(gate, key, 6, seed=1)
    assert ask(gate, key, 4).charged == 4, "the window has moved on"


def test_a_ban_holds_over_a_restart_until_it_is_pardoned(opened: OpenGate, tmp_path: Path) -> None:
    key = key_of()
    gate, ledger = open_gate(tmp_path / "provider.db")
    ask(gate, key)
    alarmed(ledger, key, Alarm("prada", 0.8, 0, 2, "ban"))
    ledger.close()
    for _ in range(2):
        gate = opened()
        assert refusal(gate, key, seed=1).kind == "banned"
    assert ask(gate, key_of("lab00001"), seed=1).charged == 2
    assert ask(gate, key_of(pardoned=datetime.now(UTC)), seed=1).charged == 2
    assert refusals(tmp_path / "provider.db") == [(2, "banned")] * 2


def test_wrong_images_are_refused_before_they_cost(opened: OpenGate) -> None:
    gate, key, question = opened(), key_of(budget=4), asked()
    for images in (question.images[:, :2], question.images + 1, np.full_like(question.images, np.nan)):
        wrong = replace(question, images=np.ascontiguousarray(images))
        with pytest.raises(Problem) as caught:
            gate.call(key, "m", wrong, sent(wrong))
        assert caught.value.kind == "invalid_images"
    assert gate.remaining(key) == 4


def sequential(spec: OracleSpec, questions: list[int]) -> list[tuple[str, bytes]]:
    """The answers of one stack in process, of questions by their seeds."""
    oracle = build(spec, LinearOracle(), Budget(None), MemoryRecorder())
    answers = []
    for seed in questions:
        try:
            answers.append(encode(oracle.query(torch.from_numpy(images_of(3, seed)))))
        except (Refused, RateExceeded) as error:
            answers.append((error.reason, b""))
    return answers


GUARDED = NOISY.model_copy(update={"near_duplicate": 0.05, "near_duplicate_window": 9})
ORDER = [0, 1, 0, 2, 3, 4, 5, 5, 0, 6]


def one(gate: Gate, key: Key, seed: int, first: int | None = None) -> tuple[str, bytes]:
    question = asked(3, seed)
    try:
        outcome = gate.call(key, "m", question, sent(question, first=first))
    except Problem as problem:
        return problem.kind, b""
    return outcome.codec, outcome.data


def test_answers_noise_and_guards_are_those_of_the_sequential_run_over_restarts(opened: OpenGate) -> None:
    wanted, gate, actual = sequential(GUARDED, ORDER), opened(GUARDED), []
    for number, seed in enumerate(ORDER):
        actual.append(one(gate, key_of(), seed))
        one(gate, key_of("lab00001"), number + 50)  # another key disturbs nothing
        if number in (3, 6):
            gate = opened(GUARDED)
    assert actual == wanted
    assert ("near_duplicate", b"") in wanted


def test_a_caller_learns_where_its_queries_begin_also_from_a_replay(opened: OpenGate) -> None:
    gate, key = opened(), key_of()
    ask(gate, key, 5)
    assert ask(gate, key, 2, seed=1, idempotency="k").first == 5
    assert ask(gate, key, 3, seed=2).first == 7
    assert ask(opened(), key, 2, seed=1, idempotency="k").first == 5


def test_ordinals_put_calls_at_their_places(opened: OpenGate, tmp_path: Path) -> None:
    gate, key, seeds = opened(NOISY), key_of(), list(range(8))
    with ThreadPoolExecutor(8) as pool:
        calls = []
        for seed in reversed(seeds):
            calls.append(pool.submit(one, gate, key, seed, 3 * seed))
            time.sleep(0.01)
        actual = [call.result(20) for call in reversed(calls)]
    assert actual == sequential(NOISY, seeds)
    assert one(gate, key, 3, 0)[0] == "bad_request"
    assert check(tmp_path / "provider.db") == []


def test_without_ordinals_calls_are_answered_as_they_arrived(opened: OpenGate, tmp_path: Path) -> None:
    model = Blocking()
    gate, key = opened(NOISY, oracle=model), key_of()
    with ThreadPoolExecutor(6) as pool:
        calls = []
        for seed in range(6):
            calls.append(pool.submit(one, gate, key, seed))
            assert model.entered.wait(10)
            time.sleep(0.05)
        model.go.set()
        actual = [call.result(20) for call in calls]
    assert actual == sequential(NOISY, list(range(6)))


def test_64_threads_with_8_keys_overspend_nothing_and_lose_nothing(opened: OpenGate, tmp_path: Path) -> None:
    gate, keys = opened(NOISY), [key_of(f"lab0000{n}", budget=50 + n) for n in range(8)]
    start, kinds = threading.Barrier(64), set[str]()

    def client(number: int) -> int:
        key, spent = keys[number % 8], 0
        start.wait()
        for call in range(4):
            try:
                spent += ask(gate, key, 1 + (number + call) % 5, seed=number).charged
            except Problem as problem:
                kinds.add(problem.kind)
        return spent

    with ThreadPoolExecutor(64) as pool:
        spent = list(pool.map(client, range(64)))
    assert kinds == {"budget"}
    path = tmp_path / "provider.db"
    rows = reads.sql(
        path,
        "SELECT json_extract(r.config, '$.service.key') AS who, sum(c.charged) AS n"
        " FROM calls AS c JOIN runs AS r ON r.id = c.run_id GROUP BY 1 ORDER BY 1",
    )
    for number, (who, stored) in enumerate(rows.values.tolist()):
        assert who == keys[number].id
        assert stored == sum(spent[number::8]) <= 50 + number
    assert check(path) == []


def test_kept_images_stop_at_the_cap(opened: OpenGate, tmp_path: Path) -> None:
    gate = opened(keep=1000)
    for seed in range(12):
        ask(gate, key_of(f"lab0000{seed % 3}"), 1, seed=seed)
    path = tmp_path / "provider.db"
    kept = reads.sql(path, "SELECT sum(length(data)) AS n, count(*) AS images FROM pictures").iloc[0]
    assert 0 < kept["images"] < 12
    assert kept["n"] <= 1000
    assert check(path) == []


@pytest.mark.parametrize(
    ("spec", "further", "wanted"),
    [
        ({"top_k": 5}, {"top_k": 3}, {"top_k": 3}),
        ({"top_k": 2}, {"top_k": 3}, {"top_k": 2}),
        ({"top_k": 2}, {"label_only": True}, {"label_only": True}),
        ({"label_only": True}, {"top_k": 3}, {"label_only": True}),
        ({"decimals": 3}, {"decimals": 1}, {"decimals": 1}),
        ({"score_noise": 0.1, "seed": 3}, {"score_noise": 0.01}, {"score_noise": 0.1, "seed": 3}),
        ({}, {"rate_limit": "1/day"}, {"rate_limit": "1/day", "rate_policy": "refuse"}),
        ({"threshold": 0.2}, {}, {"threshold": 0.2}),
    ],
)
def test_a_key_can_only_be_restricted_further(
    spec: dict[str, object], further: dict[str, object], wanted: dict[str, object]
) -> None:
    assert restricted(OracleSpec(**spec), OracleSpec(**further)) == OracleSpec(**wanted)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fields",
    [{"seconds_per_call": 1.0}, {"rate_limit": "1/day", "rate_policy": "wait"}, {"seconds_per_query": 0.5}],
)
def test_a_simulated_service_cannot_be_served(opened: OpenGate, fields: dict[str, object]) -> None:
    with pytest.raises(InvalidSpec, match="simulated services"):
        opened(OracleSpec(**fields))  # type: ignore[arg-type]


@pytest.mark.parametrize("kept", [False, True])
def test_an_answer_that_cannot_be_stored_is_not_told_and_charged_at_most_once(
    opened: OpenGate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    """kept: the disk is full, so that the call waits in memory; otherwise it was refused before it was queued."""
    gate, key, record = opened(), key_of(budget=4), Run.record

    def failing(run: Run, call: CallLike, beside: Beside | None = None) -> None:
        if kept:
            record(run, call, beside)
        raise StorageFull("no space", 2) if kept else StorageError("refused")

    monkeypatch.setattr(Run, "record", failing)
    assert refusal(gate, key, idempotency="k").kind == "unavailable"
    assert gate.remaining(key) == (2 if kept else 4)
    monkeypatch.undo()
    assert ask(gate, key, idempotency="k").replayed == kept
    assert gate.remaining(key) == 2
    assert charged(tmp_path / "provider.db") == 2


@pytest.mark.slow
def test_50_repeats_of_64_threads_with_8_keys_overspend_nothing(tmp_path: Path) -> None:
    for repeat in range(50):
        path = tmp_path / f"{repeat}.db"
        gate, ledger = open_gate(path, NOISY)
        keys = [key_of(f"lab0000{n}", budget=11 + n) for n in range(8)]
        start = threading.Barrier(64)

        def client(number: int, gate: Gate = gate, keys: list[Key] = keys, at: threading.Barrier = start) -> int:
            at.wait()
            try:
                return ask(gate, keys[number % 8], 1 + number // 8, seed=number).charged
            except Problem as problem:
                return 0 if problem.kind == "budget" else 1_000

        with ThreadPoolExecutor(64) as pool:
            told = list(pool.map(client, range(64)))
        for number, key in enumerate(keys):
            assert gate.remaining(key) == 11 + number - sum(told[number::8]) >= 0
        ledger.close()
        spent = reads.sql(path, "SELECT charged FROM spend")["charged"].tolist()
        assert sum(spent) == sum(told)
        assert all(total <= 18 for total in spent)
        if repeat % 10 == 0:
            assert check(path) == []


def test_a_detector_bans_a_key_also_after_a_restart_until_it_is_pardoned(opened: OpenGate, tmp_path: Path) -> None:
    gate, key = opened(OracleSpec(watch=WatchSpec(detector="blacklight", action="ban"))), key_of()
    ask(gate, key)
    ask(gate, key)  # the same images
    assert ask(gate, key_of("lab00001")).charged == 2, "another key"
    assert refusal(gate, key, seed=5).kind == "banned"
    assert refusals(tmp_path / "provider.db") == [(2, "banned")]
    gate = opened(OracleSpec(watch=WatchSpec(detector="blacklight", action="ban")))
    assert refusal(gate, key, seed=5).kind == "banned"
    pardoned = key_of(pardoned=datetime.now(UTC))
    assert ask(gate, pardoned, seed=5).charged == 2
    assert ask(gate, pardoned, seed=6).charged == 2
    frame = reads.sql(tmp_path / "provider.db", "SELECT first, action FROM alarms ORDER BY id")
    assert frame.values.tolist()[:2] == [[2, "ban"], [3, "ban"]]
    assert check(tmp_path / "provider.db") == []


def test_coarser_answers_go_on_after_a_restart(opened: OpenGate) -> None:
    spec = OracleSpec(watch=WatchSpec(detector="blacklight", action="coarse", decimals=1))
    gate = opened(spec)
    exact = ask(gate, key_of())
    ask(gate, key_of())
    coarse = ask(gate, key_of())
    assert exact.codec != coarse.codec
    assert ask(opened(spec), key_of()).data == coarse.data
