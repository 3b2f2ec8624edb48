from __future__ import annotations

import numpy as np
import pytest
import torch

from oracles.errors import InvalidImages, ModelError
from oracles.oracle import Oracle, Wrapper, check_range, check_shape
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
