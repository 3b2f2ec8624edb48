"""Every term of both objectives against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from simkit.detectors.whitebox.regularisers import (
    blocking,
    cross_entropy,
    l1,
    outside,
    overlaying,
    overly_large,
    scattered,
)

MASKS = torch.tensor([[[[0.0, 0.5], [1.0, 0.25]]], [[[0.0, 0.0], [0.0, 1.0]]]])  # (2, 1, 2, 2)
PATTERNS = torch.tensor([[[[1.0, 0.5], [0.2, 0.4]]], [[[0.5, 0.5], [0.5, 0.5]]]])


def _brightness(images: torch.Tensor) -> torch.Tensor:
    """Two classes: the score of class 1 is the mean of the pixels."""
    bright = images.flatten(1).mean(dim=1)
    return torch.stack([1.0 - bright, bright], dim=1).log()


def test_the_size_of_a_mask_is_one_a_pixel() -> None:
    assert l1(MASKS).tolist() == [1.75, 1.0]


def test_what_is_outside_keeps_the_pattern_where_the_mask_is_not() -> None:
    assert outside(MASKS, PATTERNS).flatten(1).tolist()[0] == pytest.approx([1.0, 0.25, 0.0, 0.3])
    assert outside(MASKS, PATTERNS).flatten(1).tolist()[1] == [0.5, 0.5, 0.5, 0.0]


def test_a_mask_of_one_colour_covers_every_colour_of_the_pattern() -> None:
    assert outside(MASKS, torch.ones(2, 3, 2, 2)).shape == (2, 3, 2, 2)


def test_overly_large_adds_the_norm_and_the_square_of_the_other() -> None:
    assert overly_large(MASKS).tolist() == [1.75 + 0.25 + 1.0 + 0.0625, 2.0]


def test_the_gradient_of_overly_large_is_one_plus_twice_the_value() -> None:
    values = MASKS.clone().clamp(min=0.1).requires_grad_()
    overly_large(values).sum().backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None
    assert torch.allclose(values.grad, 1.0 + 2.0 * values.detach())


def test_scatter_counts_rows_and_columns() -> None:
    rows, columns = 0.5**2 + 0.75**2, 1.0**2 + 0.25**2
    assert scattered(MASKS).tolist() == [rows + columns, 2.0]


def test_scatter_does_not_mix_classes_or_colours() -> None:
    flat = torch.zeros(2, 3, 4, 4)
    flat[1] = 1.0
    flat[:, 1] = 0.5
    assert scattered(flat).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("along", [2, 3])
def test_a_stripe_is_scattered_whichever_way_it_runs(along: int) -> None:
    stripes = torch.zeros(1, 1, 4, 4)
    stripes.select(along, 1).fill_(1.0)
    assert scattered(stripes).item() == 8.0


def test_cross_entropy_is_the_mean_over_a_class_s_images() -> None:
    images = torch.tensor([0.25, 0.5, 0.75, 1.0]).reshape(2, 2, 1, 1, 1)
    labels = torch.tensor([[0, 1], [0, 1]])
    expected = [-(math.log(0.75) + math.log(0.5)) / 2, -(math.log(0.25) + math.log(1.0)) / 2]
    assert cross_entropy(_brightness, images, labels).tolist() == pytest.approx(expected)


def test_blocking_blacks_out_the_mask_and_asks_for_each_image_s_own_class() -> None:
    images = torch.ones(2, 2, 1, 2, 2)
    labels = torch.tensor([[0, 1], [1, 1]])
    left = (1 - 1.75 / 4, 1 - 1.0 / 4)
    expected = [-(math.log(1 - left[0]) + math.log(left[0])) / 2, -math.log(left[1])]
    assert blocking(_brightness, MASKS, images, labels).tolist() == pytest.approx(expected)


def test_overlaying_asks_for_the_target_of_the_trigger_on_black() -> None:
    alone = ((0.5 * 0.5 + 0.2 + 0.25 * 0.4) / 4, 0.5 / 4)
    expected = [-math.log(alone[0]), -math.log(1 - alone[1])]
    assert overlaying(_brightness, MASKS, PATTERNS, torch.tensor([1, 0])).tolist() == pytest.approx(expected)
