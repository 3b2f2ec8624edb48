"""Collages: what is drawn, what a child inherits, and that nothing leaves the image."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from simkit.search.collages import Breeder, Collage
from simkit.search.patch_moves import Patch
from simkit.search.race import RaceConfig
from simkit.seeding import stream

SHAPE = (3, 9, 12)
CONFIG = RaceConfig(part=0.5, largest_share=0.15)
SIDE = 4
"""Of the largest patch."""


def patch(top: int, left: int, side: int, value: float) -> Patch:
    return Patch(top, left, side, side, np.full((3, side, side), value, dtype=np.float32))


@given(seed=st.integers(0, 2**32), shape=st.tuples(st.just(3), st.integers(1, 9), st.integers(1, 9)))
def test_generations_of_collages_stay_on_the_image_and_in_range(seed: int, shape: tuple[int, int, int]) -> None:
    breeder, rng = Breeder(CONFIG.breeding(shape), shape), stream(seed, "test")
    line = [breeder.fresh(rng), breeder.fresh(rng)]
    for _ in range(12):
        line.append(breeder.child(line[-1], line[:2], rng))
    for collage in line:
        trigger = collage.trigger(shape)
        assert set(np.unique(trigger.mask)) <= {0.0, 1.0}
        assert 1 <= trigger.mask_size <= collage.area
        assert 0.0 <= trigger.pattern.min() <= trigger.pattern.max() <= 1.0
        for first in collage.patches:
            assert max(first.height, first.width) <= SIDE
            assert first.colours.shape == (3, first.height, first.width)
            assert first.colours.dtype == np.float32


def test_the_later_patch_lies_over_the_earlier() -> None:
    trigger = Collage((patch(0, 0, 3, 0.25), patch(2, 2, 2, 0.75))).trigger(SHAPE)
    assert trigger.mask_size == 9 + 4 - 1
    assert (trigger.pattern[:, 2, 2] == 0.75).all()
    assert (trigger.pattern[:, 0, 0] == 0.25).all()
    assert_array_equal(trigger.pattern * (1 - trigger.mask), np.zeros(SHAPE))


def test_a_part_is_half_of_the_patches_unchanged() -> None:
    breeder = Breeder(RaceConfig(largest_share=0.15, part=1.0, patches=5).breeding(SHAPE), SHAPE)
    parent = breeder.fresh(stream(0, "test"))
    for seed in range(20):
        child = breeder.child(parent, (), stream(seed, "child"))
        assert len(child.patches) == 3
        assert all(any(kept is first for first in parent.patches) for kept in child.patches)


def test_a_single_patch_is_changed_not_halved() -> None:
    breeder, parent = (
        Breeder(RaceConfig(largest_share=0.15, part=1.0).breeding(SHAPE), SHAPE),
        Collage((patch(3, 3, 2, 0.5),)),
    )
    children = [breeder.child(parent, (), stream(seed, "child")) for seed in range(60)]
    assert {len(child.patches) for child in children} == {1}
    heights = {child.patches[0].height for child in children}
    assert heights == {1, 2, 3}
    assert len({child.patches[0].colours.tobytes() for child in children}) > 30


def test_colours_of_a_mate_are_taken() -> None:
    breeder = Breeder(RaceConfig(largest_share=0.15, part=0.0, tint_noise=0.0, pixel_noise=0.0).breeding(SHAPE), SHAPE)
    parent, mate = Collage((patch(3, 3, 2, 0.25),)), Collage((patch(0, 0, 2, 0.75),))
    actual = [breeder.child(parent, [mate], stream(seed, "child")).trigger(SHAPE).pattern for seed in range(60)]
    assert any((pattern == 0.75).any() for pattern in actual)


def test_fresh_patches_are_squares_mostly_and_of_every_side() -> None:
    patches = [
        first
        for seed in range(200)
        for first in Breeder(CONFIG.breeding(SHAPE), SHAPE).fresh(stream(seed, "fresh")).patches
    ]
    assert {first.height for first in patches} == {1, 2, 3, 4}
    squares = sum(first.height == first.width for first in patches) / len(patches)
    assert 0.8 < squares < 0.92, "one in five draws its width apart, a quarter of them alike again"
