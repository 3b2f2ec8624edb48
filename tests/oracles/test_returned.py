"""What models return: one number per image, several outputs, axes of length 1, and how errors name the option."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from oracles.answers import Scores
from oracles.errors import ModelError
from oracles.returned import classes_in, rows_of, tensors_in
from oracles.torch_model import TorchOracle
from oracles.torch_options import Output, TorchOptions
from tests.oracles.fakes import random_images
from tests.oracles.nets import conv_net, seeded

SHAPE = (3, 8, 8)
ROWS = torch.tensor([[0.1, 0.9, 0.3], [1.5, -2.0, 0.0]])


class Returning(nn.Module):
    """Returns what `change` makes of the net's rows."""

    def __init__(self, net: nn.Module, change: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.net, self.change = net, change

    def forward(self, images: torch.Tensor) -> Any:
        return self.change(self.net(images))


def one_output() -> nn.Module:
    return seeded(nn.Sequential(nn.Flatten(), nn.Linear(192, 1)))


def scores(model: nn.Module, images: torch.Tensor, **options: Any) -> Any:
    answer = TorchOracle(model, SHAPE, TorchOptions(**options)).query(images)
    assert isinstance(answer, Scores)
    return answer.values


@pytest.mark.parametrize("squeezed", [False, True])
@pytest.mark.parametrize("count", [1, 7])
def test_one_number_per_image_is_that_of_class_1(squeezed: bool, count: int) -> None:
    net, images = one_output(), random_images(count, SHAPE)
    logits = net(images).detach()[:, 0]
    expected = np.stack([1 - torch.sigmoid(logits), torch.sigmoid(logits)], axis=1)

    def shaped(rows: torch.Tensor) -> torch.Tensor:
        return rows.squeeze() if squeezed else rows

    sigmoid = Returning(net, lambda rows: shaped(torch.sigmoid(rows)))
    np.testing.assert_allclose(scores(sigmoid, images, output="probabilities"), expected, atol=1e-6)
    np.testing.assert_allclose(scores(Returning(net, shaped), images, output="logits"), expected, atol=1e-6)
    assert TorchOracle(sigmoid, SHAPE, TorchOptions(output="probabilities"), n_classes=2).n_classes == 2


@pytest.mark.parametrize("n_classes", [None, 2, 10])
def test_one_number_of_unknown_meaning_is_refused_at_once_with_the_option(n_classes: int | None) -> None:
    with pytest.raises(ModelError, match=r"one number per image; .*--output probabilities.*output=logits"):
        TorchOracle(one_output(), SHAPE, n_classes=n_classes)


def test_one_number_beyond_a_probability_is_refused() -> None:
    big = Returning(one_output(), lambda rows: rows * 0 + 3.5)
    with pytest.raises(ModelError, match=r"no probabilities in \[0, 1\] .*; set output='logits'"):
        TorchOracle(big, SHAPE, TorchOptions(output="probabilities")).query(random_images(4, SHAPE))


def test_one_number_for_ten_classes_is_said_as_that() -> None:
    with pytest.raises(ModelError, match="answers 2 scores per image, fewer than the 10 classes of the data"):
        TorchOracle(one_output(), SHAPE, TorchOptions(output="probabilities"), n_classes=10)


@pytest.mark.parametrize("output", ["auto", "probabilities", "logits"])
def test_class_numbers_are_not_taken_for_scores(output: Output) -> None:
    with pytest.raises(ModelError, match="one int64 per image; if those are class numbers"):
        TorchOracle(Returning(conv_net(), lambda rows: rows.argmax(1)), SHAPE, TorchOptions(output=output))


@pytest.mark.parametrize("more", [(1, 1), (1,), (1, 1, 1)])
def test_axes_of_length_1_are_dropped(more: tuple[int, ...]) -> None:
    net, images = conv_net(), random_images(5, SHAPE)
    behind = Returning(net, lambda rows: rows.reshape(*rows.shape, *more))
    before = Returning(net, lambda rows: rows.reshape(len(rows), *more, rows.shape[1]))
    for model in (behind, before):
        assert np.array_equal(scores(model, images), scores(net, images))


@pytest.mark.parametrize("sizes", [(4, 2), (2, 2, 1), (1, 4, 4)])
def test_two_long_axes_are_no_rows(sizes: tuple[int, ...]) -> None:
    wide = Returning(conv_net(), lambda rows: torch.zeros(len(rows), *sizes))
    with pytest.raises(ModelError, match=r"wrap it so that it answers \(N, classes\)"):
        TorchOracle(wide, SHAPE)


SEVERAL: Mapping[str, tuple[Callable[[torch.Tensor], Any], str]] = {
    "label beside scores": (lambda rows: (rows.argmax(1), rows), "1"),
    "scores first": (lambda rows: [rows, rows[:, :2]], "0"),
    "a dict": (lambda rows: {"label": rows.argmax(1), "scores": rows}, "scores"),
    "a dict by position": (lambda rows: {"label": rows.argmax(1), "scores": rows}, "1"),
    "a dict of numbers": (lambda rows: {0: rows.argmax(1), 7: rows}, "7"),
    "something else beside": (lambda rows: (None, rows, "text", rows[:, :1]), "1"),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_the_item_that_is_named_has_the_scores(name: str) -> None:
    change, item = SEVERAL[name]
    net, images = conv_net(), random_images(5, SHAPE)
    model = Returning(net, change)
    assert np.array_equal(scores(model, images, output_item=item), scores(net, images))
    with pytest.raises(ModelError, match=r"answers 2 tensors: .*\(N, 4\).*set output_item \(--output-item 0\)"):
        TorchOracle(model, SHAPE)
    with pytest.raises(ModelError, match="no 'none'; set output_item"):
        TorchOracle(model, SHAPE, TorchOptions(output_item="none"))


def test_an_item_of_class_numbers_is_told_to_name_another() -> None:
    model = Returning(conv_net(), lambda rows: (rows.argmax(1), rows))
    with pytest.raises(ModelError, match="set output_item to the one with the scores, it is '0'") as caught:
        TorchOracle(model, SHAPE, TorchOptions(output_item="0"))
    assert "argmax" not in str(caught.value)
    with pytest.raises(ModelError, match="without its argmax"):
        TorchOracle(Returning(conv_net(), lambda rows: rows.argmax(1)), SHAPE)


def test_the_only_tensor_needs_no_choice() -> None:
    net, images = conv_net(), random_images(5, SHAPE)
    for change in (lambda rows: {"logits": rows}, lambda rows: (rows,), lambda rows: (rows, None)):
        assert np.array_equal(scores(Returning(net, change), images), scores(net, images))


def test_an_item_of_one_tensor_is_refused() -> None:
    with pytest.raises(ModelError, match="one tensor, which has no item '1'; leave out output_item"):
        TorchOracle(conv_net(), SHAPE, TorchOptions(output_item="1"))


@pytest.mark.parametrize("returned", [None, 3.0, "text", (), {}, [None], object()])
def test_what_holds_no_tensor_is_refused(returned: object) -> None:
    assert tensors_in(returned) == {}
    with pytest.raises(ModelError, match="wrap it so that it returns one tensor"):
        rows_of(returned, 2, TorchOptions(), -1)


def test_the_number_of_scores_is_compared_with_the_classes() -> None:
    assert torch.equal(rows_of(ROWS, 2, TorchOptions(), 3), ROWS)
    with pytest.raises(ModelError, match="answers 3 scores per image, more than the 2 classes of the data"):
        rows_of(ROWS, 2, TorchOptions(), 2)


@pytest.mark.parametrize(
    ("sizes", "classes"),
    [
        ((None, 10), 10),
        (("N", 10, 1, 1), 10),
        ((5, 1, 1, 7), 7),
        ((None, 1), None),
        ((None,), None),
        ((), None),
        ((None, "C"), None),
        ((None, 10, None), None),
        ((None, 3, 4), None),
    ],
)
def test_the_classes_that_sizes_fix(sizes: tuple[object, ...], classes: int | None) -> None:
    assert classes_in(sizes) == classes


@given(st.integers(1, 5), st.integers(2, 6), st.lists(st.just(1), max_size=3), st.integers(0, 3))
def test_any_place_of_the_long_axis_gives_the_same_rows(images: int, classes: int, ones: list[int], at: int) -> None:
    rows = torch.arange(images * classes, dtype=torch.float32).reshape(images, classes)
    place = min(at, len(ones))
    shaped = rows.reshape(images, *ones[:place], classes, *ones[place:])
    assert torch.equal(rows_of(shaped, images, TorchOptions(), classes), rows)
