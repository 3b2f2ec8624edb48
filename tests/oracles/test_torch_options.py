"""The options of a torch model: what they change about its input, and what does not fit together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from oracles.answers import Scores
from oracles.callable_model import callable_oracle
from oracles.errors import InvalidSpec, ModelError
from oracles.torch_model import TorchOracle, check_answers
from oracles.torch_options import TorchOptions
from tests.oracles.fakes import random_images
from tests.oracles.nets import conv_net

SHAPE = (3, 8, 8)


class Taking(nn.Module):
    """A net behind another input: images (N, H, W, C), bytes, or both."""

    def __init__(self, nhwc: bool, bytes_: bool) -> None:
        super().__init__()
        self.net, self.nhwc, self.bytes = conv_net(), nhwc, bytes_

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.bytes:
            assert x.dtype == torch.uint8, "needs Byte"
            x = x.float() / 255.0
        return torch.as_tensor(self.net(x.permute(0, 3, 1, 2) if self.nhwc else x))


def scores(model: nn.Module, images: torch.Tensor, **options: Any) -> Any:
    oracle = TorchOracle(model, SHAPE, TorchOptions(**options), n_classes=4)
    check_answers(oracle, images)
    assert oracle.form == "faster"
    answer = oracle.query(images)
    assert isinstance(answer, Scores)
    return answer.values


@pytest.mark.parametrize("scripted", [False, True])
@pytest.mark.parametrize(("nhwc", "bytes_"), [(True, False), (False, True), (True, True)])
def test_a_model_is_given_what_it_takes(nhwc: bool, bytes_: bool, scripted: bool) -> None:
    images = (random_images(7, SHAPE) * 255).round() / 255
    module: nn.Module = Taking(nhwc, bytes_)
    model = torch.jit.script(module) if scripted else module
    layout, dtype = "nhwc" if nhwc else "nchw", "uint8" if bytes_ else "float32"
    given = scores(model, images, input_layout=layout, input_dtype=dtype, chunk=3)
    np.testing.assert_allclose(given, scores(conv_net(), images), atol=1e-5)


def test_pixels_are_rounded_to_the_nearest_byte_and_the_images_are_left_alone() -> None:
    seen: list[torch.Tensor] = []

    class Watching(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x.clone())
            return torch.zeros(len(x), 4)

    images = torch.tensor([0.0, 0.4 / 255, 0.6 / 255, 254.4 / 255, 254.6 / 255, 1.0]).reshape(1, 1, 2, 3)
    kept = images.clone()
    TorchOracle(Watching(), (1, 2, 3), TorchOptions(input_dtype="uint8")).query(images)
    assert (seen[-1].dtype, seen[-1].flatten().tolist()) == (torch.uint8, [0, 0, 1, 254, 255, 255])
    assert torch.equal(images, kept)


def test_a_mean_is_subtracted_before_the_axes_are_moved() -> None:
    images, mean, std = random_images(4, SHAPE), (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    moved = scores(Taking(True, False), images, input_layout="nhwc", mean=mean, std=std)
    np.testing.assert_allclose(moved, scores(conv_net(), images, mean=mean, std=std), atol=1e-5)


def test_a_function_is_given_the_same() -> None:
    seen: list[Any] = []

    def answer(images: Any) -> Any:
        seen.append(images)
        return np.zeros(len(images)), np.ones((len(images), 4))

    options = TorchOptions(input_layout="nhwc", input_dtype="uint8", output_item="1")
    callable_oracle(answer, SHAPE, 4, options=options).query(random_images(2, SHAPE))
    assert (seen[0].dtype, seen[0].shape, seen[0].flags.c_contiguous) == (np.uint8, (2, 8, 8, 3), True)
    with pytest.raises(ModelError, match=r"2 tensors: 0 \(N\), 1 \(N, 4\)"):
        callable_oracle(answer, SHAPE, 4).query(random_images(2, SHAPE))


def test_the_error_of_another_layout_names_the_option() -> None:
    with pytest.raises(ModelError, match="set input_layout=nhwc"):
        TorchOracle(Taking(True, False), SHAPE)
    with pytest.raises(ModelError, match="does not take images") as raised:
        TorchOracle(conv_net(), SHAPE, TorchOptions(input_layout="nhwc"))
    assert "input_layout" not in str(raised.value), "which was tried already"


def test_the_error_of_bytes_names_the_option_before_a_query() -> None:
    with pytest.raises(ModelError, match="set input_dtype=uint8"):
        TorchOracle(Taking(False, True), SHAPE, n_classes=4)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"input_layout": "hwc"}, "input_layout is 'hwc'; give one of nchw, nhwc"),
        ({"input_dtype": "int8"}, "input_dtype is 'int8'; give one of float32, uint8"),
        ({"input_dtype": "uint8", "mean": (0.5,), "std": (0.5,)}, "leave out mean, std and precision"),
        ({"input_dtype": "uint8", "precision": "bfloat16"}, "leave out mean, std and precision"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidSpec, match=says):
        TorchOptions(**options)
