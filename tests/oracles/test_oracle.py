from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from oracles.answers import Answer, Labels, Scores, TopK
from oracles.budget import Budget
from oracles.errors import InvalidImages, ModelError
from oracles.meter import MemoryRecorder
from oracles.oracle import Oracle, Tag, Wrapper, check_answer, check_range, check_shape
from oracles.spec import OracleSpec, build
from tests.contracts.oracle import OracleContract
from tests.oracles.fakes import LinearOracle, random_images


class TestBareContract(OracleContract):
    def make(self) -> Oracle:
        return LinearOracle()


class TestWrapperContract(OracleContract):
    def make(self) -> Oracle:
        return Wrapper(LinearOracle())


def test_a_wrapper_forwards_the_description_and_nothing_else() -> None:
    model = LinearOracle()
    wrapper = Wrapper(model)
    assert (wrapper.n_classes, wrapper.image_shape) == (model.n_classes, model.image_shape)
    assert not hasattr(wrapper, "batches")


def test_answered_counts_images_from_first_and_skips_failures() -> None:
    model = LinearOracle()
    wrapper = Wrapper(model, first=10)
    wrapper.query(random_images(3))
    model.failing = True
    with pytest.raises(ModelError):
        wrapper.query(random_images(2))
    assert wrapper.answered == 13


SCORES = np.full((2, 3), 1 / 3, dtype=np.float32)
IDS = np.zeros(2, dtype=np.int32)
PAIR = np.zeros((2, 2), dtype=np.int32)

WRONG_ANSWERS: list[tuple[Any, str]] = [
    (None, "answers a NoneType"),
    (SCORES, "answers a ndarray; it must be Scores"),
    (Scores(SCORES[:, :2]), r"values float32 \(2, 2\); give a numpy float32 array \(2, 3\)"),
    (Scores(SCORES[:1]), r"values float32 \(1, 3\); give a numpy float32 array \(2, 3\)"),
    (Scores(SCORES[0]), r"values float32 \(3,\)"),
    (Scores(SCORES.astype(np.float64)), r"values float64"),
    (Scores(torch.from_numpy(SCORES)), r"values as Tensor; give a numpy float32 array"),  # type: ignore[arg-type]
    (Labels(IDS.astype(np.int64), 3), "labels int64"),
    (Labels(IDS[:1], 3), r"labels int32 \(1,\)"),
    (Labels([0, 0], 3), "labels as list"),  # type: ignore[arg-type]
    (Labels(IDS, 4), "for 4 classes, not 3"),
    (Labels(IDS + 3, 3), "classes beyond 0 to 2; -1 stands for none"),
    (Labels(IDS - 2, 3), "classes beyond"),
    (TopK(PAIR, SCORES, 3), r"values float32 \(2, 3\); give a numpy float32 array \(2, 2\)"),
    (TopK(PAIR[0], SCORES[0, :2], 3), r"classes int32 \(2,\); give a numpy int32 array \(2, 1\)"),
    (TopK(None, SCORES, 3), "classes as NoneType"),  # type: ignore[arg-type]
    (TopK(PAIR + 3, SCORES[:, :2], 3), "classes beyond"),
    (TopK(PAIR[:, :0], SCORES[:, :0], 3), "classes beyond"),
]


@pytest.mark.parametrize(("answer", "says"), WRONG_ANSWERS)
@pytest.mark.parametrize("spec", [OracleSpec(), OracleSpec(score_noise=0.1, decimals=1), OracleSpec(label_only=True)])
def test_a_wrong_answer_is_a_model_error_and_costs_nothing(answer: Any, says: str, spec: OracleSpec) -> None:
    class Own:
        n_classes, image_shape = 3, (3, 4, 4)

        def query(self, images: torch.Tensor, tag: Tag | None = None) -> Any:
            return answer

    recorder, budget = MemoryRecorder(), Budget(5)
    with pytest.raises(ModelError, match=says):
        build(spec, Own(), budget, recorder).query(random_images(2))
    assert (budget.spent, recorder.calls) == (0, [])


@pytest.mark.parametrize("answer", [Scores(SCORES * np.nan), Labels(IDS - 1, 3), TopK(PAIR, SCORES[:, :2], 3)])
def test_an_answer_may_be_not_finite_or_name_nothing(answer: Answer) -> None:
    check_answer(answer, 2, 3)


def test_images_of_the_right_shape_pass() -> None:
    check_shape(random_images(1), (3, 4, 4))


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (torch.zeros(2, 3, 4, 4, dtype=torch.float64), "float64; send torch.float32"),
        (torch.zeros(3, 4, 4), r"\(3, 4, 4\); this oracle takes \(N, 3, 4, 4\)"),
        (torch.zeros(2, 1, 4, 4), "takes"),
        (torch.zeros(0, 3, 4, 4), "empty batch"),
    ],
)
def test_images_of_the_wrong_shape_are_named(images: torch.Tensor, says: str) -> None:
    with pytest.raises(InvalidImages, match=says):
        check_shape(images, (3, 4, 4))


@pytest.mark.parametrize("spec", [OracleSpec(), OracleSpec(label_only=True), OracleSpec(input_noise=0.1)], ids=str)
@pytest.mark.parametrize(
    ("images", "says"),
    [
        (np.zeros((2, 3, 4, 4), np.float32), r"images are a numpy.ndarray; send a torch tensor.*from_numpy\(images\)"),
        ([[0.5]], "images are a builtins.list; send a torch tensor of float32: torch.stack"),
        (None, "images are a builtins.NoneType; send a torch tensor"),
    ],
    ids=["array", "list", "none"],
)
def test_what_is_no_tensor_is_told_through_every_wrapper(images: Any, says: str, spec: OracleSpec) -> None:
    recorder, budget = MemoryRecorder(), Budget(10)
    oracle = build(spec, LinearOracle(), budget, recorder)
    for bare in (oracle, LinearOracle()):
        with pytest.raises(InvalidImages, match=says):
            bare.query(images)
    assert (budget.spent, recorder.calls) == (0, [])


def test_a_kind_of_tensor_is_a_tensor() -> None:
    check_shape(torch.nn.Parameter(random_images(1)), (3, 4, 4))


def test_the_whole_closed_range_passes() -> None:
    check_range(torch.tensor([0.0, 0.5, 1.0]))


@pytest.mark.parametrize(
    ("value", "says"), [(np.nan, "NaN"), (255.0, "to 255"), (-1e-6, "-1e-06"), (np.inf, "inf"), (-np.inf, "-inf")]
)
def test_a_pixel_out_of_range_is_found_among_good_ones(value: float, says: str) -> None:
    images = random_images(4)
    images[2, 1, 3, 0] = value
    with pytest.raises(InvalidImages, match=says):
        check_range(images)
