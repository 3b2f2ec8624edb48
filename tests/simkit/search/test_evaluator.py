"""The evaluator stamps, asks once, and tells what was asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from oracles.answers import Answer
from oracles.budget import Budget
from oracles.errors import BudgetExhausted
from oracles.meter import MemoryRecorder, Metered, Recorded
from oracles.oracle import Tag
from simkit.search.contract import Proposal
from simkit.search.evaluator import Evaluator, NotFinite, as_it_is, as_tensor
from simkit.search.evidence import evidence_of
from simkit.triggers import FloatArray, Triggers, stamp
from tests.fakes import NotANumberOracle, PlantedOracle, corner_plant, planted_images
from tests.patches import stack

IMAGES = planted_images(8)
PAIRS = np.array([[0, 3], [1, 3], [1, 0]], dtype=np.int32)


def _proposal() -> Proposal:
    return Proposal(Triggers.of([corner_plant(0).trigger, corner_plant(0, side=3).trigger]), PAIRS)


def test_evidence_is_that_of_the_stamped_images() -> None:
    evidence = Evaluator(PlantedOracle(plant=corner_plant(2)), MemoryRecorder()).evaluate(IMAGES, _proposal(), "search")
    triggers = stack(_proposal().triggers)
    for row, (candidate, image) in enumerate(PAIRS):
        mask, pattern = torch.from_numpy(triggers.masks[[candidate]]), torch.from_numpy(triggers.patterns[[candidate]])
        answer = PlantedOracle(plant=corner_plant(2)).query(stamp(IMAGES.pixels[[image]], mask, pattern))
        assert_allclose(evidence.score[[row]], evidence_of(answer, IMAGES.labels[[image]]).score, rtol=1e-5)
    assert evidence.hit[:, 2].all()
    assert_array_equal(evidence.valid[:, 3], [False, False, True])  # images 3, 3 and 0 are of classes 3, 3 and 0
    assert_array_equal(evidence.valid[:, 0], [True, True, False])


def test_every_query_is_recorded_as_image_and_candidate_under_its_step() -> None:
    recorder = MemoryRecorder()
    evaluator = Evaluator(Recorded(PlantedOracle(), recorder), recorder)
    evaluator.clean(IMAGES, np.array([5, 1], dtype=np.int32), "check")
    evaluator.evaluate(IMAGES, _proposal(), "search", '{"round": 0}')
    assert recorder.steps == [(0, "check", "{}"), (1, "search", '{"round": 0}')]
    assert [call.step for call in recorder.calls] == [0, 1]
    assert recorder.calls[0].rows.tolist() == [[5, -1], [1, -1]]
    assert recorder.calls[1].rows.tolist() == [[3, 0], [3, 1], [0, 1]]
    assert evaluator.queries == 5


def test_an_oracle_that_holds_its_answers_may_take_arrays() -> None:
    sent: list[object] = []

    def send(pixels: FloatArray) -> torch.Tensor:
        sent.append(pixels.copy())
        return torch.from_numpy(pixels)

    recorder = MemoryRecorder()
    observed = Evaluator(PlantedOracle(), recorder, send).evaluate(IMAGES, _proposal(), "search")
    assert_array_equal(
        observed.score, Evaluator(PlantedOracle(), recorder).evaluate(IMAGES, _proposal(), "search").score
    )
    assert [type(batch) for batch in sent] == [np.ndarray]


@pytest.mark.parametrize("send", [as_tensor, as_it_is])
def test_parts_are_asked_about_in_one_call(send: Callable[..., Any]) -> None:
    class Keeping(PlantedOracle):
        def __init__(self) -> None:
            super().__init__()
            self.asked = list[Any]()

        def query(self, images: Any, tag: Tag | None = None) -> Answer:
            self.asked.append(images)
            return super().query(torch.as_tensor(images), tag)

    rows = np.column_stack([np.arange(8), np.full(8, -1)]).astype(np.int32)
    oracle, recorder = Keeping(), MemoryRecorder()
    evaluator = Evaluator(oracle, recorder, send)
    evidence = evaluator.unlabelled(IMAGES.array[:5], IMAGES.array[5:], rows=rows, purpose="check")
    whole = Evaluator(PlantedOracle(), recorder).unlabelled(IMAGES.array, rows=rows, purpose="check")
    assert_array_equal(evidence.score, whole.score)
    assert [len(images) for images in oracle.asked] == [8]
    assert not np.shares_memory(np.asarray(oracle.asked[0]), IMAGES.array)
    assert recorder.steps[0] == (0, "check", "{}")


def test_clean_images_show_their_class() -> None:
    evidence = Evaluator(PlantedOracle(), MemoryRecorder()).clean(IMAGES, np.arange(8, dtype=np.int32), "check")
    assert_array_equal(evidence.hit.argmax(axis=1), IMAGES.labels)


def test_what_is_refused_is_not_counted() -> None:
    recorder = MemoryRecorder()
    evaluator = Evaluator(Recorded(Metered(PlantedOracle(), Budget(2)), recorder), recorder)
    with pytest.raises(BudgetExhausted):
        evaluator.evaluate(IMAGES, _proposal(), "search")
    assert (evaluator.queries, recorder.calls) == (0, [])


def test_nan_is_an_error_that_was_paid_for() -> None:
    evaluator = Evaluator(NotANumberOracle(), MemoryRecorder())
    with pytest.raises(NotFinite, match="NaN or infinity in step 0, at query 1; is it trained"):
        evaluator.evaluate(IMAGES, _proposal(), "search")
    assert evaluator.queries == 3


def test_nan_after_finite_answers_says_at_which_query() -> None:
    victim = NotANumberOracle()
    victim.after = 4
    evaluator = Evaluator(victim, MemoryRecorder())
    evaluator.clean(IMAGES, np.arange(4, dtype=np.int32), "check")
    with pytest.raises(NotFinite, match="in step 1, at query 5, after finite answers; scan again"):
        evaluator.evaluate(IMAGES, _proposal(), "search")
