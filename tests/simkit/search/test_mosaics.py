"""Mosaics: where their tiles lie, what colours they have, and that halving loses none of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from simkit.errors import ConfigError
from simkit.search.collages import Collage
from simkit.search.mosaics import MosaicConfig, grained, halves, mosaic
from simkit.seeding import stream

SHAPE = (3, 32, 32)
CONFIG = MosaicConfig(plain=0.0)
DRAWS = 150


def drawn(config: MosaicConfig = CONFIG, shape: tuple[int, int, int] = SHAPE) -> list[Collage]:
    return [mosaic(config, shape, stream(seed, "test")) for seed in range(DRAWS)]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40)),
    across=st.lists(st.integers(1, 12), min_size=1, max_size=3),
    grains=st.integers(1, 40),
    covered=st.floats(0.1, 1.0),
)
def test_tiles_lie_apart_on_the_image_and_each_grain_has_one_bright_or_dark_colour(
    seed: int, shape: tuple[int, int, int], across: list[int], grains: int, covered: float
) -> None:
    config = MosaicConfig(tuple(across), covered, grains, plain=0.0)
    made = mosaic(config, shape, stream(seed, "test"))
    assert made.patches
    assert made.trigger(shape).mask_size == made.area, "overlaps would count twice"
    largest = max(2, round(min(shape[1:]) / min(across)))
    for tile in made.patches:
        assert 0 <= tile.top < tile.top + tile.height <= shape[1]
        assert 0 <= tile.left < tile.left + tile.width <= shape[2]
        assert max(tile.height, tile.width) <= largest
        assert tile.colours.shape == (shape[0], tile.height, tile.width)
        assert tile.colours.dtype == np.float32
        assert set(np.unique(tile.colours)) <= {0.0, 1.0}
        assert_array_equal(grained(tile.colours, config.grain(shape)), tile.colours)


def test_all_channels_are_bright_as_often_as_dark_and_of_their_own() -> None:
    colours = np.concatenate([tile.colours.reshape(3, -1) for made in drawn() for tile in made.patches], axis=1)
    assert np.abs(colours.mean(axis=1) - 0.5).max() < 0.02
    assert np.abs(np.corrcoef(colours) - np.eye(3)).max() < 0.04


@pytest.mark.parametrize("covered", [0.2, 0.5, 1.0])
def test_as_much_of_the_image_is_covered_as_was_asked_for(covered: float) -> None:
    shares = [made.area / 32**2 for made in drawn(replace(CONFIG, covered=covered))]
    # Strips of one pixel at the border of the image are left out.
    assert 0.96 * covered - 0.02 < np.mean(shares) < covered + 0.02
    assert (np.std(shares) > 0.05) == (covered < 1)


def test_the_sides_are_those_of_the_numbers_across_and_the_grid_is_shifted() -> None:
    made = drawn()
    sides = {max(max(tile.height, tile.width) for tile in one.patches) for one in made}
    assert sides == {6, 8}
    inner = [tile for one in made for tile in one.patches if tile.top and tile.height == tile.width == 8]
    assert {tile.top % 8 for tile in inner} == set(range(8)), "every shift of the grid occurs"
    assert min(min(tile.height, tile.width) for one in made for tile in one.patches) == 2


def test_every_pixel_is_covered_about_equally_often() -> None:
    masks = np.mean([made.trigger(SHAPE).mask[0] for made in drawn()], axis=0)
    assert 0.3 < masks[2:-2, 2:-2].min() < masks.max() < 0.7


def test_equal_seeds_draw_the_same_mosaic_and_others_do_not() -> None:
    first, again, other = (mosaic(CONFIG, SHAPE, stream(seed, "test")).trigger(SHAPE) for seed in (3, 3, 4))
    assert first.to_json() == again.to_json() != other.to_json()


@pytest.mark.parametrize("covered", [0.02, 1e-3])
def test_there_is_a_tile_however_little_is_covered(covered: float) -> None:
    assert [len(mosaic(replace(CONFIG, covered=covered), SHAPE, stream(s, "test")).patches) for s in range(5)].count(
        0
    ) == 0


@pytest.mark.parametrize(("shape", "grain"), [(SHAPE, 2), ((3, 64, 96), 4), ((1, 28, 28), 2), ((3, 5, 9), 1)])
def test_the_grain_follows_the_smaller_side(shape: tuple[int, int, int], grain: int) -> None:
    assert CONFIG.grain(shape) == grain


def test_grained_known_answer() -> None:
    values = np.arange(15).reshape(1, 3, 5)
    assert_array_equal(grained(values, 2), [[[0, 0, 2, 2, 4], [0, 0, 2, 2, 4], [10, 10, 12, 12, 14]]])
    assert_array_equal(grained(values, 1), values)
    assert_array_equal(grained(values, 9), np.zeros((1, 3, 5)))


@given(seed=st.integers(0, 2**32))
def test_halves_share_out_the_tiles(seed: int) -> None:
    rng = stream(seed, "test")
    made = mosaic(CONFIG, SHAPE, rng)
    parts = halves(made, rng)
    if len(made.patches) == 1:
        assert parts == ()
        return
    assert [len(part.patches) for part in parts] == [(len(made.patches) + 1) // 2, len(made.patches) // 2]
    assert {id(tile) for part in parts for tile in part.patches} == {id(tile) for tile in made.patches}


def test_one_tile_has_no_halves_and_the_halves_of_more_are_random() -> None:
    made = mosaic(replace(CONFIG, covered=1.0), SHAPE, stream(0, "test"))
    assert halves(Collage(made.patches[:1]), stream(0, "test")) == ()
    first = {frozenset(map(id, halves(made, stream(seed, "test"))[0].patches)) for seed in range(10)}
    assert len(first) == 10


@pytest.mark.parametrize(
    "changed",
    [
        {"across": ()},
        {"across": (5, 0)},
        {"grains": 0},
        {"covered": 0.0},
        {"covered": 1.01},
        {"plain": -0.1},
        {"plain": 1.1},
    ],
)
def test_settings_out_of_range_are_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="mosaics need"):
        replace(CONFIG, **changed)


@pytest.mark.parametrize("plain", [0.0, 0.75, 1.0])
def test_a_plain_tile_has_one_colour_of_any_brightness(plain: float) -> None:
    tiles = [tile for made in drawn(replace(CONFIG, plain=plain)) for tile in made.patches if tile.height > 2]
    one = [tile for tile in tiles if not ((tile.colours == 0.0) | (tile.colours == 1.0)).all()]
    assert len(one) / len(tiles) == pytest.approx(plain, abs=0.05)
    assert all((tile.colours == tile.colours[:, :1, :1]).all() for tile in one)
    if one:
        colours = np.array([tile.colours[:, 0, 0] for tile in one])
        assert np.abs(colours.mean(axis=0) - 0.5).max() < 0.03
        assert np.abs(np.quantile(colours, [0.1, 0.9], axis=0) - [[0.1], [0.9]]).max() < 0.04
