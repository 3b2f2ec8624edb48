"""Patches that annealing moves: where they may lie, what a move changes, and how they look as triggers."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from simkit.search.patch_moves import MOVES, SHIFT, Bounds, Patch
from simkit.seeding import stream

BOUNDS = Bounds((3, 9, 7), 4)


def lies_inside(patch: Patch, bounds: Bounds) -> bool:
    _, height, width = bounds.image_shape
    sides = 1 <= patch.height <= bounds.largest_side and 1 <= patch.width <= bounds.largest_side
    return sides and 0 <= patch.top <= height - patch.height and 0 <= patch.left <= width - patch.width


def kinds(old: Patch, new: Patch) -> str:
    """Which part of a patch is another now."""
    place, size = (old.top, old.left) != (new.top, new.left), (old.height, old.width) != (new.height, new.width)
    return "size" if size else "place" if place else "colours" if new.colours is not old.colours else "none"


def test_a_patch_as_a_trigger() -> None:
    colours = (np.arange(1, 13) / 12).astype(np.float32).reshape(3, 2, 2)
    trigger = Patch(1, 2, 1, 2, colours).trigger((3, 3, 4))
    assert_array_equal(trigger.mask[0], [[0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0]])
    assert_array_equal(trigger.pattern[:, 1, 2:], colours[:, 0, :])
    assert np.count_nonzero(trigger.pattern) == 6


def test_one_colour_fills_the_patch() -> None:
    colour = np.array([0.2, 0.4, 0.6], dtype=np.float32)[:, None, None]
    trigger = Patch(0, 0, 3, 2, colour).trigger((3, 4, 4))
    assert_array_equal(trigger.pattern, trigger.mask * colour)
    assert trigger.mask_size == 6


@given(st.integers(0, 10_000), st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_moves_stay_inside_and_in_range(seed: int, shape: tuple[int, int, int], largest_side: int) -> None:
    bounds, rng = Bounds(shape, largest_side), stream(seed, "moves")
    patch = bounds.random(rng)
    for _ in range(30):
        assert lies_inside(patch, bounds)
        trigger = patch.trigger(shape)
        assert trigger.mask_size == patch.height * patch.width
        assert trigger.pattern.min() >= 0.0
        assert trigger.pattern.max() <= 1.0
        patch = bounds.neighbour(patch, rng)


def test_one_move_changes_one_thing_and_little_of_it() -> None:
    seen = Counter[str]()
    for draw in range(400):
        rng = stream(draw, "move")
        old = Bounds((3, 32, 32), 4).random(rng)
        new = Bounds((3, 32, 32), 4).neighbour(old, rng)
        kind = kinds(old, new)
        seen[kind] += 1
        if kind == "size":
            assert abs(new.height - old.height) + abs(new.width - old.width) == 1
            assert max(abs(new.top - old.top), abs(new.left - old.left)) <= 1, "moved only to stay inside"
        if kind != "colours":
            assert new.colours is old.colours
    assert min(seen["size"], seen["place"], seen["colours"]) > 40


def test_shifts_are_short_and_jumps_are_not() -> None:
    old = Patch(15, 15, 2, 2, np.zeros((3, 1, 1), dtype=np.float32))
    moved = [Bounds((3, 32, 32), 4).neighbour(old, stream(draw, "far")) for draw in range(400)]
    far = [max(abs(new.top - 15), abs(new.left - 15)) for new in moved if kinds(old, new) == "place"]
    short = sum(distance <= SHIFT for distance in far)
    assert short / len(far) == pytest.approx(MOVES["shift"] / (MOVES["shift"] + MOVES["jump"]), abs=0.12)
    assert max(far) > 8


def test_a_patch_that_grows_again_has_its_old_colours() -> None:
    colours = stream(0, "colours").random((3, 4, 4), dtype=np.float32)
    wide = Patch(0, 0, 2, 2, colours).trigger((3, 5, 5))
    narrow = Patch(0, 0, 2, 1, colours).trigger((3, 5, 5))
    assert_array_equal(narrow.pattern[:, :, :1], wide.pattern[:, :, :1])


def test_patches_are_of_one_colour_or_of_many() -> None:
    shapes = Counter(BOUNDS.random(stream(draw, "kind")).colours.shape for draw in range(200))
    assert set(shapes) == {(3, 1, 1), (3, 4, 4)}
    assert min(shapes.values()) > 60


def test_the_chances_of_the_moves_are_chances() -> None:
    assert sum(MOVES.values()) == pytest.approx(1.0)
