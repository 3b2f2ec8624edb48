from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from oracles.answers import Answer, encode
from oracles.budget import Budget
from oracles.errors import ReplayMismatch
from oracles.meter import CallRecord, MemoryRecorder, Recorded
from oracles.oracle import ImageShape, Oracle, Tag
from oracles.replay import Replayed
from oracles.resume import Past
from oracles.spec import OracleSpec, build
from tests.contracts.oracle import OracleContract, recorder_for_contracts
from tests.oracles.fakes import LinearOracle, random_images

NOISY = OracleSpec(score_noise=0.1, input_noise=0.1)


class TestReplayedContract(OracleContract):
    def make(self) -> Oracle:
        return Replayed(LinearOracle(), [])


class Echo:
    """Records the answer to each question just before `Replayed` is asked the same; its live oracle fails."""

    def __init__(self) -> None:
        self._replayed = Replayed(LinearOracle(failing=True), self._stored())
        self._asked = torch.empty(0), tag(0, 0)

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


class TestReplayingContract(OracleContract):
    def make(self) -> Oracle:
        return Echo()


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
    build(NOISY, LinearOracle(), Budget(9), stored).query(random_images(2), tag(0, 2))
    model = LinearOracle()
    with pytest.raises(ReplayMismatch, match="scan into a fresh --db"):
        Replayed(model, stored.calls).query(random_images(2 if asked is None else len(asked.rows)), asked)
    assert model.images_seen == 0
