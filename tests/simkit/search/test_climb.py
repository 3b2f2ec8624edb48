"""Climbing: what noise is drawn, and how colours move along a slope."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from simkit.errors import ConfigError
from simkit.search.climb import ClimbConfig, Colours, along, moved, noise
from simkit.search.collages import Collage
from simkit.search.mosaics import grained
from simkit.search.patch_moves import Patch
from simkit.seeding import stream

SHAPE = (2, 12, 10)


def tile(top: int, left: int, height: int, width: int, value: float = 0.5) -> Patch:
    return Patch(top, left, height, width, np.full((2, height, width), value, np.float32))


TWO = Collage((tile(0, 0, 6, 6, 0.25), tile(6, 2, 6, 4, 0.75)))


def kinds(collage: Collage, grain: int) -> set[int]:
    """The sides of equal squares that the noise of many draws had; one value for the tile has a side of 6."""
    seen = set()
    for seed in range(40):
        drawn = noise(collage, grain, stream(seed, "test"))
        parts = np.split(drawn, np.cumsum([patch.colours.size for patch in collage.patches])[:-1])
        values: list[Colours] = [v.reshape(p.colours.shape) for v, p in zip(parts, collage.patches, strict=True)]
        side = max(s for s in (6, 4, 2, 1) if all(np.array_equal(grained(v, s), v) for v in values))
        assert all(len(np.unique(v)) == 2 * -(-v.shape[1] // side) * -(-v.shape[2] // side) for v in values)
        seen.add(side)
    return seen


def test_noise_is_one_value_for_each_tile_or_grain_or_half_of_a_grains_side() -> None:
    assert kinds(TWO, 4) == {6, 4, 2}
    assert kinds(TWO, 2) == {6, 2, 1}


def test_noise_with_grains_of_one_pixel_is_one_value_for_each_tile_or_pixel() -> None:
    assert kinds(TWO, 1) == {6, 1}


def test_noise_is_standard_normal_and_each_kind_is_as_likely() -> None:
    draws = [noise(TWO, 4, stream(seed, "test")) for seed in range(600)]
    assert draws[0].shape == (2 * 6 * 6 + 2 * 6 * 4,)
    values = np.array([draw[0] for draw in draws])
    assert abs(values.mean()) < 0.15
    assert abs(values.std() - 1) < 0.1
    whole = np.mean([len(np.unique(draw)) == 4 for draw in draws])
    assert 0.27 < whole < 0.4


def test_moved_changes_each_tile_by_its_part_within_the_range_of_colours() -> None:
    by = np.concatenate([np.full(72, 0.5), np.full(48, -0.5)])
    by[0], by[-1] = -0.5, 0.5
    first, second = moved(TWO, by).patches
    assert_allclose(first.colours.ravel(), [0.0] + [0.75] * 71)
    assert_allclose(second.colours.ravel(), [0.25] * 47 + [1.0])
    assert {first.colours.dtype, second.colours.dtype} == {np.dtype(np.float32)}
    assert [(p.top, p.left, p.height, p.width) for p in (first, second)] == [(0, 0, 6, 6), (6, 2, 6, 4)]
    assert TWO.patches[0].colours.min() == 0.25, "the collage itself stays what it is"


@given(seed=st.integers(0, 2**32), step=st.floats(0.001, 0.05), scale=st.floats(1e-3, 1e3))
def test_along_goes_a_step_in_the_root_mean_square_whatever_the_length_of_the_slope(
    seed: int, step: float, scale: float
) -> None:
    slope = stream(seed, "test").uniform(-1, 1, 120)
    after, before = (
        np.concatenate([p.colours.ravel() for p in c.patches]) for c in (along(TWO, scale * slope, step), TWO)
    )
    change = after.astype(np.float64) - before
    assert np.sqrt((change**2).mean()) == pytest.approx(step, rel=1e-3)
    assert np.corrcoef(change, slope)[0, 1] == pytest.approx(1.0, abs=1e-4)


def test_along_no_slope_nothing_changes() -> None:
    for before, after in zip(TWO.patches, along(TWO, np.zeros(120), 0.4).patches, strict=True):
        assert_array_equal(after.colours, before.colours)


@pytest.mark.parametrize(
    "changed",
    [
        *({"rungs": rungs} for rungs in ((), ((0, 4),), ((4, 4), (2, 0)))),
        *({"places": places} for places in (((0, 1, 1),), ((4, 0, 1),), ((4, 1, 1), (2, 1, 0)))),
        *({"steps": steps} for steps in ((), (0.1, -0.1))),
        *({"sigma": 0.0}, {"memory": -0.1}, {"compared": 0}),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="a climb needs"):
        replace(ClimbConfig(), **changed)
    assert ClimbConfig(memory=0.0).memory == 0.0


def test_the_first_queries_are_those_of_all_places_and_of_the_first_rung() -> None:
    config = ClimbConfig(places=((4, 2, 3),), rungs=((6, 5), (2, 9)), steps=(0.0, 0.4), compared=2)
    assert config.first_queries == 4 * 11 * 3 + 6 * (2 * 5 + 2 * 2)
    assert replace(config, places=(), steps=(0.4,)).first_queries == 6 * 2 * 5
