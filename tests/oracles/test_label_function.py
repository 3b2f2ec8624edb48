"""Functions that answer class numbers without scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from oracles.answers import MISSING, Labels
from oracles.budget import Budget
from oracles.callable_model import LabelFunction, callable_oracle
from oracles.errors import InvalidSpec, ModelError
from oracles.meter import MemoryRecorder
from oracles.oracle import Oracle
from oracles.spec import OracleSpec, build
from oracles.torch_model import TorchOracle
from oracles.torch_options import TorchOptions
from tests.contracts.oracle import OracleContract
from tests.oracles.fakes import random_images

SHAPE = (3, 4, 4)
LABELS = TorchOptions(output="labels")


def order(images: Any) -> Any:
    """The channels of each image, the brightest first, int64 (N, 3)."""
    return np.argsort(-images.sum(axis=(2, 3)), axis=1)


def oracle_of(function: Any, limit: int | None = None, options: TorchOptions = LABELS) -> Oracle:
    return callable_oracle(function, SHAPE, 3, limit, options)


class TestLabelFunctionContract(OracleContract):
    answer_type = Labels

    def make(self) -> Oracle:
        return oracle_of(order, limit=2)


@pytest.mark.parametrize(
    "function",
    [
        order,
        lambda images: order(images)[:, :2],
        lambda images: order(images)[:, :1],
        lambda images: order(images)[:, 0],
        lambda images: order(images)[:, 0].tolist(),
        lambda images: order(images).tolist(),
        lambda images: torch.from_numpy(order(images)),
        lambda images: order(images).astype(np.uint8),
        lambda images: torch.from_numpy(order(images)[:, 0].astype(np.int16)),
    ],
)
@pytest.mark.parametrize("limit", [None, 3])
def test_the_first_class_of_each_row_is_the_label(function: Any, limit: int | None) -> None:
    images = random_images(7, SHAPE)
    answer = oracle_of(function, limit).query(images)
    assert isinstance(answer, Labels)
    assert answer.labels.dtype == np.int32
    assert answer.n_classes == 3
    assert_array_equal(answer.labels, order(images.numpy())[:, 0])


def test_no_class_is_a_label_too() -> None:
    answer = oracle_of(lambda images: [MISSING] * len(images)).query(random_images(2, SHAPE))
    assert isinstance(answer, Labels)
    assert_array_equal(answer.labels, [MISSING, MISSING])


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda images: images.sum(axis=(2, 3)), "answers float32; for scores leave that option out"),
        (lambda images: order(images)[:, 0].astype(float), "answers float64; for scores"),
        (lambda images: np.ones(len(images), bool), "answers bool"),
        (lambda images: ["cat"] * len(images), "answers text"),
        (lambda images: [None] * len(images), "answers Python objects"),
        (lambda images: {"label": 1}, "answers Python objects"),
        (lambda images: [[1], [1, 2]] * (len(images) // 2), "rows of different lengths"),
        (lambda images: order(images)[1:], r"answers \(3, 3\)"),
        (lambda images: order(images)[None], r"answers \(1, 4, 3\)"),
        (lambda images: 1, r"answers \(\)"),
        (lambda images: order(images)[:, :0], r"answers \(4, 0\)"),
        (lambda images: order(images) + 1, "classes from 1 to 3, of 0 to 2; -1 stands for none"),
        (lambda images: order(images) - 2, "classes from -2 to 0"),
    ],
)
def test_anything_else_is_one_line_that_names_the_option(function: Any, says: str) -> None:
    budget, recorder = Budget(9), MemoryRecorder()
    with pytest.raises(ModelError, match=says) as caught:
        build(OracleSpec(label_only=True), oracle_of(function), budget, recorder).query(random_images(4, SHAPE))
    assert "output='labels'" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (budget.spent, recorder.calls) == (0, [])


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (
            lambda images: order(images)[:, 0],
            r"answers one number per image.* class numbers of a function, set output=",
        ),
        (lambda images: order(images)[:, :2], "answers 2 scores per image, fewer than the 3.* or output='labels'"),
    ],
)
def test_labels_without_the_option_are_told_of_it(function: Any, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        oracle_of(function, options=TorchOptions()).query(random_images(4, SHAPE))


def test_fractions_are_not_told_of_it() -> None:
    with pytest.raises(ModelError) as caught:
        oracle_of(lambda images: np.full((len(images), 2), 0.5), options=TorchOptions()).query(random_images(4, SHAPE))
    assert "output" not in str(caught.value)


def test_a_later_call_that_fails_keeps_the_labels_before() -> None:
    calls: list[int] = []

    def function(images: Any) -> Any:
        calls.append(len(images))
        if len(calls) == 3:
            raise TimeoutError("504")
        return order(images)

    budget, recorder, images = Budget(9), MemoryRecorder(), random_images(9, SHAPE)
    oracle = build(OracleSpec(label_only=True), oracle_of(function, 3), budget, recorder)
    with pytest.raises(ModelError, match=r"the function failed on images .*TimeoutError: 504"):
        oracle.query(images)
    assert budget.spent == len(recorder.calls[0].labels) == 6
    answer = oracle.query(images)
    assert isinstance(answer, Labels)
    assert_array_equal(answer.labels, order(images.numpy())[:, 0])
    assert (budget.spent, calls) == (9, [3, 3, 3, 3])


def test_it_is_asked_with_normalised_images_of_its_own() -> None:
    seen: list[Any] = []

    def function(images: Any) -> Any:
        seen.append(images.copy())
        images[...] = 0.0
        return np.zeros(len(images), int)

    images = torch.ones(2, *SHAPE)
    oracle_of(function, options=TorchOptions("labels", mean=(0.5,) * 3, std=(0.25,) * 3)).query(images)
    oracle_of(function).query(images)
    assert_array_equal(seen[0], np.full((2, *SHAPE), 2.0))
    assert bool((images == 1.0).all())


def test_a_module_answers_no_labels() -> None:
    with pytest.raises(InvalidSpec, match="output='labels' is for a function"):
        TorchOracle(torch.nn.Flatten(), SHAPE, LABELS)
    assert isinstance(oracle_of(order), LabelFunction)


@pytest.mark.parametrize("fields", [{"top_k": 1}, {"threshold": 0.0}, {"decimals": 0}, {"score_noise": 0.1}], ids=str)
def test_a_spec_about_scores_does_not_fit(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidSpec, match=f"{next(iter(fields))} is about scores"):
        OracleSpec(**fields).without_scores()


def test_a_spec_becomes_label_only_and_keeps_the_rest() -> None:
    spec = OracleSpec(quantized=True, rate_limit="5/second")
    assert spec.without_scores() == OracleSpec(quantized=True, rate_limit="5/second", label_only=True)


def test_a_function_of_labels_is_given_what_it_takes() -> None:
    seen: list[Any] = []

    def answer(images: Any) -> Any:
        seen.append(images)
        return np.zeros(len(images), np.int64)

    options = TorchOptions(output="labels", input_layout="nhwc", input_dtype="uint8")
    callable_oracle(answer, (3, 4, 5), 4, options=options).query(torch.ones(2, 3, 4, 5))
    assert (seen[0].dtype, seen[0].shape, seen[0].min()) == (np.uint8, (2, 4, 5, 3), 255)
    with pytest.raises(InvalidSpec, match="leave out output_item"):
        TorchOptions(output="labels", output_item="0")
