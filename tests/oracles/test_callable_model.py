from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from oracles.answers import Scores
from oracles.budget import Budget
from oracles.callable_model import callable_oracle
from oracles.errors import InvalidSpec, ModelError
from oracles.meter import MemoryRecorder
from oracles.oracle import Oracle
from oracles.spec import OracleSpec, build
from oracles.torch_options import TorchOptions
from tests.contracts.oracle import OracleContract
from tests.oracles.fakes import random_images

SHAPE = (3, 4, 4)


def shares(images: Any) -> Any:
    """Probabilities of three classes: the shares of the channels."""
    sums = images.sum(axis=(2, 3)) + 1e-3
    return sums / sums.sum(axis=1, keepdims=True)


class TestCallableContract(OracleContract):
    def make(self) -> Oracle:
        return callable_oracle(shares, SHAPE, 3, batch_limit=2)


class Service:
    """Keeps the sizes of the calls; fails at call number `failing`."""

    def __init__(self, failing: int | None = None, rows: Callable[[Any], Any] = shares) -> None:
        self.sizes: list[int] = []
        self.failing, self.rows = failing, rows

    def __call__(self, images: Any) -> Any:
        self.sizes.append(len(images))
        if len(self.sizes) == self.failing:
            raise ConnectionError("503\nService Unavailable")
        return self.rows(images)


@pytest.mark.parametrize(("limit", "sizes"), [(None, [200]), (50, [50] * 4), (80, [80, 80, 40]), (1000, [200])])
def test_a_query_is_as_many_calls_as_the_limit_wants(limit: int | None, sizes: list[int]) -> None:
    service, images = Service(), random_images(200, SHAPE)
    answer = callable_oracle(service, SHAPE, 3, limit).query(images)
    assert service.sizes == sizes
    assert isinstance(answer, Scores)
    np.testing.assert_allclose(answer.values, shares(images.numpy()), rtol=1e-6)


def test_making_an_oracle_asks_nothing() -> None:
    service = Service()
    assert callable_oracle(service, SHAPE, 3).n_classes == 3
    assert service.sizes == []


@pytest.mark.parametrize(
    ("service", "says", "answered"),
    [
        (
            Service(failing=3),
            "failed on images .*ConnectionError: 503.*; the 100 images before these were answered",
            100,
        ),
        (Service(failing=1), "the model failed on images .*ConnectionError: 503", 0),
        (Service(rows=lambda images: shares(images)[1:]), r"answers \(49, 3\) for 50 images", 0),
        (Service(rows=lambda images: shares(images)[:, 1:]), "answers 2 scores per image, fewer than the 3", 0),
        (Service(rows=lambda images: {"scores": None}), "answers a dict", 0),
        (Service(rows=lambda images: [["a"] * 3] * len(images)), "ValueError", 0),
    ],
)
def test_a_call_that_fails_releases_what_was_not_answered(service: Service, says: str, answered: int) -> None:
    budget, recorder = Budget(1000), MemoryRecorder()
    oracle = build(OracleSpec(), callable_oracle(service, SHAPE, 3, batch_limit=50), budget, recorder)
    with pytest.raises(ModelError, match=says) as caught:
        oracle.query(random_images(200, SHAPE))
    assert "\n" not in str(caught.value)
    assert budget.spent == sum(len(call.rows) for call in recorder.calls) == answered


def test_it_is_asked_in_the_callers_thread_with_normalised_images() -> None:
    seen: list[Any] = []

    def answer(images: Any) -> Any:
        seen.append((threading.current_thread(), float(images.max()), float(images.min())))
        return shares(np.abs(images))

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        options = TorchOptions(mean=(0.5,) * 3, std=(0.25,) * 3)
        callable_oracle(answer, SHAPE, 3, 5, options).query(torch.ones(20, *SHAPE))
    finally:
        torch.set_num_threads(threads)
    assert set(seen) == {(threading.current_thread(), 2.0, 2.0)}


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(limit: int) -> None:
    with pytest.raises(InvalidSpec, match="batch_limit"):
        callable_oracle(shares, SHAPE, 3, limit)
