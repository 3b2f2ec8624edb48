from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from oracles.answers import Answer, encode
from oracles.budget import Budget
from oracles.errors import BudgetExhausted, NotStored, ReplayMismatch
from oracles.meter import CallRecord, MemoryRecorder, Recorded
from oracles.oracle import ImageShape, Oracle, Tag
from oracles.replay import NOTHING_REFUSED, Refusals, Replayed, ReplayOracle
from oracles.resume import Past
from oracles.spec import OracleSpec, build
from tests.contracts.oracle import OracleContract, recorder_for_contracts
from tests.oracles.fakes import LinearOracle, random_images

NOISY = OracleSpec(score_noise=0.1, input_noise=0.1)


class TestReplayedContract(OracleContract):
    def make(self) -> Oracle:
        return Replayed(LinearOracle(), [])


class Echo:
    """Records the answer to each question just before a replay is asked the same; no live oracle answers."""

    def __init__(self, alone: bool) -> None:
        self._asked = random_images(1), tag(0, 1)
        self._replayed: Oracle = Replayed(LinearOracle(failing=True), self._stored())
        if alone:
            self._replayed = LateReplay(self._stored)

    @property
    def n_classes(self) -> int:
        return self._replayed.n_classes

    @property
    def image_shape(self) -> ImageShape:
        return self._replayed.image_shape

    def query(self, images: torch.Tensor, tagged: Tag | None = None) -> Answer:
        self._asked = images, tagged or tag(0, len(images))
        return self._replayed.query(*self._asked)

    def _stored(self) -> Iterator[CallRecord]:
        while True:
            recorder = recorder_for_contracts()
            recorder.open_step(0, "search", "{}")
            Recorded(LinearOracle(), recorder).query(*self._asked)
            yield recorder.calls[0]


class LateReplay:
    """A `ReplayOracle` made for each question, since it reads one call ahead."""

    n_classes, image_shape = LinearOracle().n_classes, LinearOracle().image_shape

    def __init__(self, stored: Callable[[], Iterator[CallRecord]]) -> None:
        self._stored = stored

    def query(self, images: torch.Tensor, tagged: Tag | None = None) -> Answer:
        valid = images.ndim == 4 and len(images) and images.shape[1:] == self.image_shape
        stored = self._stored() if valid and images.dtype == torch.float32 else []
        return ReplayOracle(stored, self.n_classes, self.image_shape).query(images, tagged)


class TestReplayingContract(OracleContract):
    def make(self) -> Oracle:
        return Echo(alone=False)


class TestReplayingAloneContract(OracleContract):
    def make(self) -> Oracle:
        return Echo(alone=True)


def tag(step: int, count: int, image: int = 0) -> Tag:
    return Tag(step, np.array([[image + i, step] for i in range(count)], dtype=np.int32))


def recorder() -> MemoryRecorder:
    opened = MemoryRecorder()
    for step in range(3):
        opened.open_step(step, "search", "{}")
    return opened


def test_a_killed_run_goes_on_as_if_it_had_not_been() -> None:
    images = random_images(9)
    parts = [(images[:2], tag(0, 2)), (images[2:5], tag(1, 3)), (images[5:], tag(2, 4))]
    whole = build(NOISY, LinearOracle(), Budget(9))
    expected = [encode(whole.query(*part)) for part in parts]

    stored = recorder()
    killed = build(NOISY, LinearOracle(), Budget(9), stored)
    for part in parts[:2]:
        killed.query(*part)

    model, fresh, budget = LinearOracle(), recorder(), Budget(9, spent=5)
    past = Past(5, stored.calls)
    resumed = build(NOISY, model, budget, fresh, past=past)
    assert [encode(resumed.query(*part)) for part in parts] == expected
    assert (model.images_seen, budget.spent, len(fresh.calls)) == (4, 9, 1)


@pytest.mark.parametrize("asked", [tag(1, 2), tag(0, 3), tag(0, 2, image=5), None])
def test_another_question_than_the_stored_one(asked: Tag | None) -> None:
    stored = recorder()
    live = build(NOISY, LinearOracle(), Budget(9), stored)
    for step in (0, 1):  # the first call might be the start of a larger one, but the second is not its rest
        live.query(random_images(2), tag(step, 2))
    model = LinearOracle()
    with pytest.raises(ReplayMismatch, match="scan into a fresh --db"):
        Replayed(model, stored.calls).query(random_images(2 if asked is None else len(asked.rows)), asked)
    assert model.images_seen == 0


def alone(stored: list[CallRecord], refused: Refusals = NOTHING_REFUSED) -> ReplayOracle[CallRecord]:
    return ReplayOracle(stored, LinearOracle().n_classes, LinearOracle().image_shape, refused)


def two_calls() -> tuple[list[bytes], list[CallRecord]]:
    """Of a step each, and the bytes of their answers."""
    stored = recorder()
    live = build(NOISY, LinearOracle(), Budget(9), stored)
    answers = [encode(live.query(random_images(2 + step), tag(step, 2 + step)))[1] for step in (0, 1)]
    return answers, stored.calls


def test_alone_it_answers_in_order_and_then_has_no_more() -> None:
    answers, calls = two_calls()
    oracle = alone(calls)
    assert [encode(oracle.query(random_images(2 + step), tag(step, 2 + step)))[1] for step in (0, 1)] == answers
    with pytest.raises(NotStored, match="holds 5 queries of this run, but 2 more"):
        oracle.query(random_images(2), tag(2, 2))


@pytest.mark.parametrize("asked", [tag(1, 2), tag(0, 3), tag(0, 2, image=5), None])
def test_alone_it_answers_no_other_question(asked: Tag | None) -> None:
    with pytest.raises(ReplayMismatch, match="other images or candidates"):
        alone(two_calls()[1]).query(random_images(2 if asked is None else len(asked.rows)), asked)


def test_a_step_that_was_refused_is_refused_again_unless_it_was_answered_later() -> None:
    _, calls = two_calls()
    oracle = alone(calls, {1: "budget", 2: "budget"})
    oracle.query(random_images(2), tag(0, 2))
    with pytest.raises(BudgetExhausted):
        oracle.query(random_images(2), tag(2, 2))
    oracle.query(random_images(3), tag(1, 3))
    assert oracle.replayed == 5


def test_external_calls_are_answered_by_their_number() -> None:
    stored = recorder()
    live = build(NOISY, LinearOracle(), Budget(9), stored)
    answer = encode(live.query(random_images(3)))
    assert encode(alone(stored.calls).query(random_images(3))) == answer
    with pytest.raises(ReplayMismatch):
        alone(stored.calls).query(random_images(2))


def test_the_watch_sees_images_and_call_before_the_answer_is_told() -> None:
    seen: list[tuple[torch.Tensor, CallRecord]] = []
    images, calls = random_images(2), two_calls()[1]
    linear = LinearOracle()
    oracle = ReplayOracle(calls, linear.n_classes, linear.image_shape, watch=lambda *observed: seen.append(observed))
    oracle.query(images, tag(0, 2))
    assert seen[0][0] is images
    assert seen[0][1] is calls[0]
