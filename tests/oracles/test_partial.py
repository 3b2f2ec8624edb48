"""A call that fails after its first images were answered: these are kept, charged and recorded, the rest is asked."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from oracles.answers import Answer, Scores, encode
from oracles.budget import Budget
from oracles.callable_model import callable_oracle
from oracles.errors import BudgetExhausted, ModelError, Refused, ReplayMismatch
from oracles.meter import CallRecord, MemoryRecorder, Metered, Recorded
from oracles.oracle import Oracle, Tag, Wrapper
from oracles.partial import carried, carrying
from oracles.replay import Replayed, ReplayOracle
from oracles.restrict import LabelOnly
from oracles.resume import Past
from oracles.spec import OracleSpec, build
from oracles.torch_model import TorchOracle
from oracles.torch_options import TorchOptions
from oracles.watch.settings import WatchSpec
from tests.oracles.fakes import LinearOracle, random_images

SHAPE = (3, 4, 4)
SPECS = {
    "exact": OracleSpec(),
    "noisy": OracleSpec(score_noise=0.1, input_noise=0.1, seed=3),
    "label": OracleSpec(label_only=True, input_noise=0.2),
    "top": OracleSpec(top_k=2, decimals=2, threshold=0.05),
    "guarded": OracleSpec(near_duplicate=1e-4, near_duplicate_share=0.0, rate_limit="5/second", score_noise=0.1),
    "slow": OracleSpec(watch=WatchSpec(detector="prada", action="slow", seconds=2.0, threshold=-1.0)),
    "rounding": OracleSpec(watch=WatchSpec(detector="piha", action="coarse", decimals=1, threshold=-1.0)),
    "coarse": OracleSpec(top_k=3, watch=WatchSpec(detector="piha", action="coarse", threshold=-1.0)),
    "cached": OracleSpec(score_noise=0.1, watch=WatchSpec(detector="piha", action="cached", threshold=0.5)),
    "refusing": OracleSpec(rate_limit="7/second", rate_policy="refuse", seconds_per_call=0.1, near_duplicate=1e-4),
}


class Service:
    """A paid function: the softmax of a fixed projection. Fails at the calls of the given numbers."""

    def __init__(self, *failing: int, error: BaseException | None = None) -> None:
        self.failing, self.error = failing, error or ConnectionError("503")
        self.calls, self.paid = 0, 0

    def __call__(self, images: Any) -> Any:
        self.calls += 1
        if self.calls in self.failing:
            raise self.error
        self.paid += len(images)
        rows = images.reshape(len(images), -1)[:, :5] * 9.0
        return np.exp(rows) / np.exp(rows).sum(axis=1, keepdims=True)


def oracle_of(service: Service) -> Oracle:
    return callable_oracle(service, SHAPE, 5, batch_limit=3)


def tag(step: int, count: int) -> Tag:
    return Tag(step, np.array([[i, step] for i in range(count)], dtype=np.int32))


def recorder() -> MemoryRecorder:
    made = MemoryRecorder()
    for step in range(4):
        made.open_step(step, "search", "{}")
    return made


QUESTIONS = [(random_images(8, seed=step), tag(step, 8)) for step in range(3)]


def told(oracle: Oracle) -> list[tuple[str, bytes]]:
    """The answers to all questions; a question whose call fails is asked again until it is answered."""
    answers = []
    for question in QUESTIONS:
        for _ in range(9):
            try:
                answers.append(encode(oracle.query(*question)))
                break
            except ModelError:
                continue
    return answers


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("failing", [(2,), (3,), (5, 6, 8), (1, 2, 4)])
def test_a_process_that_asks_again_gets_the_same_answers_and_pays_once(
    spec: OracleSpec, failing: tuple[int, ...]
) -> None:
    expected = told(build(spec, oracle_of(Service()), Budget(24)))
    service, budget, kept = Service(*failing), Budget(24), recorder()
    assert told(build(spec, oracle_of(service), budget, kept)) == expected
    assert service.paid == budget.spent == sum(len(call.rows) for call in kept.calls) == 24


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("failing", [(2,), (3,), (5, 6, 8), (1, 2, 4)])
def test_a_run_that_is_killed_between_resumes_with_the_same_answers_and_pays_once(
    spec: OracleSpec, failing: tuple[int, ...]
) -> None:
    whole = recorder()
    expected = told(build(spec, oracle_of(Service()), Budget(24), whole))
    service, calls = Service(*failing), list[CallRecord]()
    answers: list[tuple[str, bytes]] = []
    while len(answers) < len(expected):  # every failure ends a process
        spent, kept = sum(len(call.rows) for call in calls), recorder()
        budget = Budget(24, spent=spent)
        oracle = build(spec, oracle_of(service), budget, kept, past=Past(spent, list(calls)))
        answers = []
        with contextlib.suppress(ModelError):
            for question in QUESTIONS:
                answers.append(encode(oracle.query(*question)))
        calls += kept.calls
        assert budget.spent == sum(len(call.rows) for call in calls)
    assert answers == expected
    assert service.paid == sum(len(call.rows) for call in calls) == 24
    assert b"".join(call.answers for call in calls) == b"".join(call.answers for call in whole.calls)
    assert np.array_equal(np.concatenate([c.rows for c in calls]), np.concatenate([c.rows for c in whole.calls]))
    alone = ReplayOracle(calls, 5, SHAPE)
    assert [encode(alone.query(*question)) for question in QUESTIONS] == expected
    assert alone.replayed == 24


@settings(max_examples=40, deadline=None)
@given(failing=st.sets(st.integers(1, 14), max_size=8), size=st.integers(1, 9))
def test_paid_is_charged_is_recorded(failing: set[int], size: int) -> None:
    service, budget, kept = Service(*failing), Budget(40), recorder()
    oracle = build(SPECS["noisy"], callable_oracle(service, SHAPE, 5, batch_limit=size), budget, kept)
    for question in QUESTIONS:
        with contextlib.suppress(ModelError):
            oracle.query(*question)
        assert service.paid == budget.spent == sum(len(call.rows) for call in kept.calls)


def test_an_untagged_call_without_a_recorder_goes_on_too() -> None:
    service, budget = Service(2), Budget(8)
    oracle = build(OracleSpec(), oracle_of(service), budget)
    with pytest.raises(ModelError, match="the 3 images before these were answered"):
        oracle.query(QUESTIONS[0][0])
    oracle.query(QUESTIONS[0][0])
    assert (service.paid, budget.spent) == (8, 8)


@pytest.mark.parametrize(
    "other", [(random_images(8, seed=9), tag(0, 8)), (QUESTIONS[0][0], tag(1, 8)), (QUESTIONS[0][0], None)]
)
def test_another_call_is_asked_as_a_whole(other: tuple[torch.Tensor, Tag | None]) -> None:
    service, kept = Service(2), recorder()
    oracle = build(OracleSpec(), oracle_of(service), Budget(None), kept)
    with pytest.raises(ModelError):
        oracle.query(*QUESTIONS[0])
    oracle.query(*other)
    assert service.paid == sum(len(call.rows) for call in kept.calls) == 3 + 8


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
def test_an_interrupt_stays_one_and_keeps_what_was_answered(error: BaseException) -> None:
    service, budget, kept = Service(3, error=error), Budget(8), recorder()
    oracle = build(OracleSpec(), oracle_of(service), budget, kept)
    with pytest.raises(type(error)):
        oracle.query(*QUESTIONS[0])
    assert service.paid == budget.spent == len(kept.calls[0].rows) == 6


class Cautious(LinearOracle):
    """Answers a part of each call, and raises what it is told."""

    def __init__(self, part: Answer, error: Exception) -> None:
        super().__init__()
        self.part, self.error = part, error

    def query(self, images: torch.Tensor, tag: Tag | None = None) -> Answer:
        raise carrying(self.error, self.part, self)


def test_a_refusal_of_the_rest_is_recorded_beside_the_part_and_resumes() -> None:
    part, kept, budget = LinearOracle().query(QUESTIONS[0][0][:2]), recorder(), Budget(20)
    oracle = build(OracleSpec(), Cautious(part, Refused(8, "quota")), budget, kept)
    with pytest.raises(Refused):
        oracle.query(*QUESTIONS[0])
    assert (budget.spent, len(kept.calls[0].rows), kept.refusals) == (2, 2, [(0, 8, "quota")])
    resumed = Replayed(LinearOracle(failing=True), kept.calls, {0: "quota"})
    with pytest.raises(Refused):
        resumed.query(*QUESTIONS[0])
    assert (resumed.replayed, resumed.replaying) == (2, False)


def test_a_budget_that_ends_between_the_parts_refuses_the_rest() -> None:
    kept, budget = recorder(), Budget(8)
    oracle = build(OracleSpec(), oracle_of(Service(2)), budget, kept)
    with pytest.raises(ModelError):
        oracle.query(*QUESTIONS[0])
    budget.reserve(1)
    with pytest.raises(BudgetExhausted):
        oracle.query(*QUESTIONS[0])
    assert [len(call.rows) for call in kept.calls] == [3]
    assert kept.refusals == [(0, 8, "budget")]


@pytest.mark.parametrize(
    "part",
    [
        Scores(np.zeros((0, 5), np.float32)),
        Scores(np.zeros((8, 5), np.float32)),
        Scores(np.zeros((2, 4), np.float32)),
        Scores(np.zeros((2, 5), np.float64)),
    ],
    ids=["empty", "whole", "classes", "dtype"],
)
def test_a_part_that_is_none_is_not_charged(part: Answer) -> None:
    kept, budget = recorder(), Budget(20)
    with pytest.raises(ModelError, match="the server is gone"):
        build(OracleSpec(), Cautious(part, ModelError("the server is gone")), budget, kept).query(*QUESTIONS[0])
    assert (budget.spent, kept.calls) == (0, [])


class Foreign(LinearOracle):
    """Restricts answers, but is no `Wrapper` and knows nothing of parts."""

    def __init__(self, inner: Oracle) -> None:
        super().__init__()
        self.inner = inner

    def query(self, images: torch.Tensor, tag: Tag | None = None) -> Answer:
        answer = self.inner.query(images, tag)
        assert isinstance(answer, Scores)
        return Scores(answer.values * np.float32(0.5))


def test_a_part_that_a_restriction_did_not_see_is_not_told() -> None:
    kept, budget = recorder(), Budget(20)
    with pytest.raises(ModelError):
        build(OracleSpec(), Foreign(oracle_of(Service(2))), budget, kept).query(*QUESTIONS[0])
    assert (budget.spent, kept.calls) == (0, [])


def test_each_wrapper_lets_the_part_be_seen_as_its_own_answers() -> None:
    wrapped = LabelOnly(oracle_of(Service(2)))
    with pytest.raises(ModelError) as caught:
        wrapped.query(QUESTIONS[0][0])
    expected = LabelOnly(oracle_of(Service())).query(QUESTIONS[0][0][:3])
    part = carried(caught.value, wrapped)
    assert part is not None
    assert encode(part) == encode(expected)
    assert (wrapped.answered, carried(caught.value, wrapped._inner)) == (3, None)


def test_the_meter_and_the_record_alone_keep_the_part() -> None:
    kept, budget = recorder(), Budget(20)
    oracle: Wrapper = Recorded(Metered(oracle_of(Service(3)), budget), kept)
    with pytest.raises(ModelError):
        oracle.query(*QUESTIONS[1])
    assert (budget.spent, [len(call.rows) for call in kept.calls]) == (6, [6])


def test_a_stored_part_with_another_rest_is_a_mismatch() -> None:
    kept = recorder()
    oracle = build(OracleSpec(), oracle_of(Service(2)), Budget(None), kept)
    with pytest.raises(ModelError):
        oracle.query(*QUESTIONS[0])
    oracle.query(*QUESTIONS[1])
    for replaying in (Replayed(LinearOracle(), kept.calls), ReplayOracle(kept.calls, 5, SHAPE)):
        with pytest.raises(ReplayMismatch, match="other images or candidates"):
            replaying.query(*QUESTIONS[0])


class FailsOnBlack(nn.Module):
    """A local model that cannot take black images."""

    thread_safe = True

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if bool((images == 0.0).all()):
            raise RuntimeError("black")
        return images.flatten(1)[:, :5] * 9.0


@pytest.mark.parametrize("threads", [1, 3])
def test_a_module_keeps_the_chunks_before_the_first_that_fails(threads: int) -> None:
    images = torch.cat([QUESTIONS[0][0][:5], torch.zeros(2, *SHAPE), QUESTIONS[0][0][5:]])
    before, budget = torch.get_num_threads(), Budget(None)
    try:
        torch.set_num_threads(threads)
        oracle = build(OracleSpec(), TorchOracle(FailsOnBlack(), SHAPE, TorchOptions(chunk=1), 5), budget)
        with pytest.raises(ModelError, match=r"black.*; the 5 images before these were answered"):
            oracle.query(images)
    finally:
        torch.set_num_threads(before)
    assert budget.spent == 5
