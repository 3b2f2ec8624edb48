"""Places of a tile: where it is shifted to, how it grows and shrinks, and to which windows it is cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from simkit.search.collages import Collage
from simkit.search.patch_moves import Patch
from simkit.search.places import PLACES, places, windows

SHAPE = (2, 12, 10)


def tile(top: int = 4, left: int = 3, height: int = 3, width: int = 3) -> Collage:
    """A tile whose colours all differ."""
    colours = np.linspace(0.1, 0.9, 2 * height * width).reshape(2, height, width).astype(np.float32)
    return Collage((Patch(top, left, height, width, colours),))


def place(collage: Collage) -> tuple[int, int, int, int]:
    (only,) = collage.patches
    assert only.colours.shape == (2, only.height, only.width)
    return only.top, only.left, only.height, only.width


def test_places_known_answer() -> None:
    found = [place(one) for one in places(tile(), 1, 6, SHAPE)]
    assert found[0] == (4, 3, 3, 3), "first as it is"
    assert set(found[:9]) == {(4 + down, 3 + right, 3, 3) for down in (-1, 0, 1) for right in (-1, 0, 1)}
    assert found[9:] == [(4, 3, 2, 2), (3, 2, 5, 5)]


def test_a_shifted_tile_keeps_its_colours_and_a_larger_one_has_those_of_its_edge() -> None:
    whole, before = tile(5, 4, 4, 4), tile(5, 4, 4, 4).patches[0].colours
    *shifted, smaller, larger = places(whole, 1, 6, SHAPE)
    assert all(np.array_equal(one.patches[0].colours, before) for one in shifted)
    assert_array_equal(smaller.patches[0].colours, before[:, 1:3, 1:3])
    assert_array_equal(larger.patches[0].colours, np.pad(before, ((0, 0), (1, 1), (1, 1)), mode="edge"))
    assert_array_equal(whole.patches[0].colours, before, "the tile itself stays what it is")


@given(
    top=st.integers(0, 11),
    left=st.integers(0, 9),
    sides=st.tuples(st.integers(1, 12), st.integers(1, 10)),
    by=st.integers(1, 5),
    most=st.integers(2, 12),
)
def test_no_place_leaves_the_image(top: int, left: int, sides: tuple[int, int], by: int, most: int) -> None:
    tall, wide = min(sides[0], 12 - top), min(sides[1], 10 - left)
    found = places(tile(top, left, tall, wide), by, most, SHAPE)
    assert len(found) == PLACES
    for y, x, height, width in map(place, found):
        assert 0 <= y < y + height <= 12
        assert 0 <= x < x + width <= 10
        assert (height, width) == (tall, wide) or max(height, width) <= most


def test_windows_known_answer() -> None:
    whole = tile(2, 1, 6, 5)
    found = windows(whole, 4)
    assert {place(one) for one in found} == {(2 + down, 1 + right, 4, 4) for down in (0, 1, 2) for right in (0, 1)}
    for one in found:
        y, x, height, width = place(one)
        part = whole.patches[0].colours[:, y - 2 : y - 2 + height, x - 1 : x - 1 + width]
        assert_array_equal(one.patches[0].colours, part)


@pytest.mark.parametrize(("height", "width", "count"), [(3, 3, 1), (4, 3, 2), (8, 3, 3), (8, 8, 9)])
def test_only_what_is_longer_than_the_side_is_cut(height: int, width: int, count: int) -> None:
    found = windows(tile(0, 0, height, width), 3)
    assert len(found) == count
    assert {place(one)[2:] for one in found} == {(3, 3)}
