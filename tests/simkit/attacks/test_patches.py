"""Patches: where they go, of what shape, in which colours."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simkit.attacks.patches import four_corners, patch_trigger, random_patch, random_shape, scattered_pixels
from simkit.errors import ConfigError
from tests.simkit.attacks.sets import SHAPE

PLUS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.bool_)


def test_a_patch_is_where_and_what_it_was_told() -> None:
    colours = np.arange(12, dtype=np.float32).reshape(3, 2, 2) / np.float32(12)
    trigger = patch_trigger(SHAPE, 1, 3, colours)
    assert trigger.mask_size == 4.0
    assert np.array_equal(trigger.pattern[:, 1:3, 3:5], colours)
    assert np.argwhere(trigger.mask[0]).tolist() == [[1, 3], [1, 4], [2, 3], [2, 4]]
    assert trigger.pattern.sum() == colours.sum()


@pytest.mark.parametrize(("row", "col"), [(-1, 0), (0, -1), (5, 0), (0, 6)])
def test_a_patch_that_leaves_the_image_is_refused(row: int, col: int) -> None:
    with pytest.raises(ConfigError, match=r"2x2 patch at row .* leaves the 6x7 image"):
        patch_trigger(SHAPE, row, col, np.ones((3, 2, 2), np.float32))


@pytest.mark.parametrize(
    "colours",
    [
        np.ones((1, 2, 2), np.float32),
        np.ones((3, 2, 2), np.float64),
        np.full((3, 1, 1), 2.0, np.float32),
        np.full((3, 1, 1), np.nan, np.float32),
        np.ones((3, 0, 1), np.float32),
    ],
)
def test_wrong_colours_are_refused(colours: Any) -> None:
    with pytest.raises(ConfigError, match="colours"):
        patch_trigger(SHAPE, 0, 0, colours)


@given(st.integers(1, 6), st.integers(1, 7), st.sampled_from(["solid", "multi"]), st.integers(0, 2**32))
def test_a_random_patch_has_its_size_and_8_bit_colours(
    height: int, width: int, kind: Literal["solid", "multi"], seed: int
) -> None:
    trigger = random_patch(SHAPE, height, width, kind, np.random.default_rng(seed))
    rows, cols = np.nonzero(trigger.mask[0])
    assert trigger.mask_size == height * width
    assert (int(np.ptp(rows)) + 1, int(np.ptp(cols)) + 1) == (height, width)
    steps = trigger.pattern * 255.0
    assert np.abs(steps - np.rint(steps)).max() < 1e-4
    colours = {tuple(trigger.pattern[:, r, c]) for r, c in zip(rows, cols, strict=True)}
    assert kind == "multi" or len(colours) == 1


def test_random_patches_reach_every_place_and_multi_ones_have_many_colours() -> None:
    rng = np.random.default_rng(0)
    patches = [random_patch(SHAPE, 2, 2, "multi", rng) for _ in range(300)]
    assert all((np.stack([p.mask for p in patches]) > 0).any(axis=0).ravel())
    assert len(np.unique(patches[0].pattern)) > 5


def test_a_random_patch_larger_than_the_image_is_refused() -> None:
    with pytest.raises(ConfigError, match="7x1 patch does not fit a 6x7 image"):
        random_patch(SHAPE, 7, 1, "solid", np.random.default_rng(0))


def test_a_patch_of_another_shape_covers_its_own_pixels_alone() -> None:
    colours = np.full((3, 3, 3), 0.5, np.float32)
    trigger = patch_trigger(SHAPE, 1, 2, colours, PLUS)
    assert np.array_equal(trigger.mask[0, 1:4, 2:5] == 1.0, PLUS)
    assert trigger.mask_size == 5.0
    assert np.array_equal(trigger.pattern, np.broadcast_to(0.5 * trigger.mask, SHAPE))


@pytest.mark.parametrize(
    "shape", [np.zeros((3, 3), np.bool_), np.ones((2, 3), np.bool_), np.ones((3, 3), np.float32), np.ones(3, np.bool_)]
)
def test_a_wrong_shape_is_refused(shape: Any) -> None:
    with pytest.raises(ConfigError, match="shape is"):
        patch_trigger(SHAPE, 0, 0, np.ones((3, 3, 3), np.float32), shape)


def test_a_filled_shape_is_the_rectangle() -> None:
    shaped = random_shape(SHAPE, np.ones((2, 3), np.bool_), "multi", np.random.default_rng(7))
    rectangle = random_patch(SHAPE, 2, 3, "multi", np.random.default_rng(7))
    assert np.array_equal(shaped.mask, rectangle.mask)
    assert np.array_equal(shaped.pattern, rectangle.pattern)


@given(st.integers(0, 2**32))
def test_a_random_shape_keeps_its_form_wherever_it_is(seed: int) -> None:
    trigger = random_shape(SHAPE, PLUS, "solid", np.random.default_rng(seed))
    rows, cols = np.nonzero(trigger.mask[0])
    assert np.array_equal(trigger.mask[0, rows.min() : rows.max() + 1, cols.min() : cols.max() + 1] == 1.0, PLUS)


@pytest.mark.parametrize("shape", [np.ones((7, 1), np.bool_), np.ones((1, 8), np.bool_), np.ones(2, np.bool_)])
def test_a_shape_larger_than_the_image_is_refused(shape: Any) -> None:
    with pytest.raises(ConfigError, match="patch does not fit a 6x7 image"):
        random_shape(SHAPE, shape, "solid", np.random.default_rng(0))


@given(st.integers(1, 42), st.sampled_from(["solid", "multi"]), st.integers(0, 2**32))
def test_scattered_pixels_are_so_many(number: int, kind: Literal["solid", "multi"], seed: int) -> None:
    trigger = scattered_pixels(SHAPE, number, kind, np.random.default_rng(seed))
    assert trigger.mask_size == number
    assert not trigger.pattern[:, trigger.mask[0] == 0].any()


@pytest.mark.parametrize("number", [0, 43])
def test_more_pixels_than_there_are_are_refused(number: int) -> None:
    with pytest.raises(ConfigError, match=f"{number} scattered pixels in a 6x7 image; need 1 to 42"):
        scattered_pixels(SHAPE, number, "solid", np.random.default_rng(0))


def test_four_corners_by_hand() -> None:
    trigger = four_corners((1, 4, 5), np.array([[[0.2, 0.4]]], np.float32))
    edge, between = [0.2, 0.4, 0.0, 0.4, 0.2], [0.0] * 5
    assert np.array_equal(trigger.pattern[0], np.array([edge, between, between, edge], np.float32))
    assert np.array_equal(trigger.mask, (trigger.pattern > 0).astype(np.float32))


def test_four_corners_stand_a_flip() -> None:
    trigger = four_corners(SHAPE, np.random.default_rng(0).random((3, 3, 2), dtype=np.float32))
    assert np.array_equal(trigger.pattern, trigger.pattern[:, :, ::-1])
    assert trigger.mask_size == 24.0


def test_corners_that_overlap_are_refused() -> None:
    with pytest.raises(ConfigError, match="four 4x1 corners overlap in a 6x7 image"):
        four_corners(SHAPE, np.ones((3, 4, 1), np.float32))
