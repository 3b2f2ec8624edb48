from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from oracles.answers import Scores, decode
from oracles.budget import Budget
from oracles.errors import BudgetExhausted, InvalidImages, ModelError
from oracles.meter import MemoryRecorder, Metered, Recorded, unknown_rows
from oracles.oracle import Oracle, Tag
from oracles.restrict import LabelOnly
from tests.contracts.oracle import OracleContract, recorder_for_contracts
from tests.oracles.fakes import LinearOracle, random_images


class TestMeteredContract(OracleContract):
    def make(self) -> Oracle:
        return Metered(LinearOracle(), Budget(100))


class TestRecordedContract(OracleContract):
    def make(self) -> Oracle:
        return Recorded(LinearOracle(), recorder_for_contracts())


@settings(max_examples=40, deadline=None)
@given(cap=st.integers(0, 12), calls=st.lists(st.tuples(st.integers(1, 6), st.booleans()), max_size=8))
def test_forwarded_is_spent_is_recorded(cap: int, calls: list[tuple[int, bool]]) -> None:
    model, recorder, budget = LinearOracle(), MemoryRecorder(), Budget(cap)
    oracle = Recorded(Metered(model, budget), recorder)
    for count, failing in calls:
        model.failing = failing
        try:
            oracle.query(random_images(count))
        except (BudgetExhausted, ModelError):
            continue
    assert model.images_seen == budget.spent == sum(len(call.labels) for call in recorder.calls) <= cap


def test_bad_pixels_are_refused_before_they_are_paid() -> None:
    model, budget = LinearOracle(), Budget(5)
    with pytest.raises(InvalidImages, match="255"):
        Metered(model, budget).query(random_images(2) * 0.0 + 255.0)
    assert (model.images_seen, budget.spent) == (0, 0)


def test_repeated_images_are_charged() -> None:
    budget = Budget(5)
    oracle = Metered(LinearOracle(), budget)
    oracle.query(random_images(2))
    oracle.query(random_images(2))
    assert budget.spent == 4


def test_an_interrupt_inside_the_model_gives_the_queries_back() -> None:
    class Interrupted(LinearOracle):
        def query(self, images: torch.Tensor, tag: Tag | None = None) -> Scores:
            raise KeyboardInterrupt

    budget = Budget(5)
    with pytest.raises(KeyboardInterrupt):
        Metered(Interrupted(), budget).query(random_images(2))
    assert budget.spent == 0


def test_a_tagged_call_is_recorded_as_the_caller_saw_it() -> None:
    recorder = MemoryRecorder()
    recorder.open_step(9, "search", "{}")
    tag = Tag(9, np.array([[0, 3], [1, 4]], dtype=np.int32))
    answer = Recorded(Metered(LinearOracle(), Budget(None)), recorder).query(random_images(2), tag)
    assert isinstance(answer, Scores)
    (call,) = recorder.calls
    assert call.step == 9
    assert_array_equal(call.rows, tag.rows)
    assert_array_equal(call.labels, answer.values.argmax(axis=1))
    assert_array_equal(call.scores, answer.values.max(axis=1))
    stored = decode(call.codec, call.answers)
    assert isinstance(stored, Scores)
    assert_array_equal(stored.values, answer.values)


def test_an_untagged_call_is_external() -> None:
    recorder = MemoryRecorder()
    Recorded(LabelOnly(LinearOracle()), recorder).query(random_images(2))
    (call,) = recorder.calls
    assert call.step is None
    assert_array_equal(call.rows, [[-1, -1], [-1, -1]])
    assert call.rows.dtype == unknown_rows(1).dtype == np.int32
    assert call.scores is None


def test_only_a_refusal_for_the_budget_is_recorded_as_one() -> None:
    model, recorder = LinearOracle(failing=True), MemoryRecorder()
    recorder.open_step(6, "search", "{}")
    oracle = Recorded(Metered(model, Budget(3)), recorder)
    with pytest.raises(ModelError):
        oracle.query(random_images(2))
    assert recorder.refusals == []
    with pytest.raises(BudgetExhausted):
        oracle.query(random_images(4), Tag(6, unknown_rows(4)))
    assert recorder.refusals == [(6, 4, "budget")]
    assert recorder.calls == []


@pytest.mark.parametrize(
    ("tag", "says"),
    [
        (Tag(1, unknown_rows(3)), "one row per image"),
        (Tag(1, unknown_rows(2)[:, :1]), "one row per image"),
        (Tag(1, unknown_rows(2).astype(np.int64)), "int64.* int32"),
        (Tag(1, unknown_rows(2).astype(np.float32)), "float32.* int32"),
        (Tag(2, unknown_rows(2)), "step 2, which was not opened"),
    ],
)
def test_a_tag_that_could_not_be_recorded_is_refused_and_free(tag: Tag, says: str) -> None:
    model, recorder, budget = LinearOracle(), MemoryRecorder(), Budget(5)
    recorder.open_step(1, "search", "{}")
    oracle = Recorded(Metered(model, budget), recorder)
    with pytest.raises(InvalidImages, match=says):
        oracle.query(random_images(2), tag)
    assert (model.images_seen, budget.spent, recorder.calls) == (0, 0, [])


def test_a_recorder_that_takes_nothing_is_asked_first() -> None:
    class Finished(MemoryRecorder):
        def check_step(self, step: int | None) -> None:
            raise RuntimeError(f"finished, step {step}")

    model, budget = LinearOracle(), Budget(5)
    with pytest.raises(RuntimeError, match="finished, step None"):
        Recorded(Metered(model, budget), Finished()).query(random_images(2))
    assert (model.images_seen, budget.spent) == (0, 0)


def test_the_memory_recorder_keeps_steps() -> None:
    recorder = MemoryRecorder()
    assert recorder.open_step(4, "search", "{}") == recorder.open_step(4, "search", "{}")
    assert recorder.steps[0] == (4, "search", "{}")
