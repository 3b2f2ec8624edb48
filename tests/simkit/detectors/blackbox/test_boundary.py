"""The walk along a boundary against linear classifiers, whose boundary is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from simkit.detectors.blackbox.boundary import (
    Bools,
    Inside,
    WalkConfig,
    directions,
    distances,
    mean_direction,
    steps,
    to_boundary,
    walk,
)
from simkit.errors import ConfigError
from simkit.seeding import stream
from simkit.triggers import IntArray

SHAPE = (1, 6, 6)


class Linear:
    """Inside where normal . x > offset; each pair may have an offset of its own. Counts images and calls."""

    def __init__(self, normal: torch.Tensor, offsets: torch.Tensor) -> None:
        self.normal, self.offsets = normal, offsets
        self.images = self.calls = self.largest = 0

    def __call__(self, images: torch.Tensor, pairs: IntArray) -> Bools:
        assert len(images) == len(pairs)
        assert 0.0 <= float(images.min()) <= float(images.max()) <= 1.0
        self.images, self.calls = self.images + len(images), self.calls + 1
        self.largest = max(self.largest, len(images))
        within: Bools = (self.heights(images) > self.offsets[torch.from_numpy(pairs).long()]).numpy()
        return within

    def heights(self, images: torch.Tensor) -> torch.Tensor:
        actual: torch.Tensor = images.flatten(1) @ self.normal.flatten()
        return actual


def grey(pairs: int, value: float = 0.5) -> torch.Tensor:
    return torch.full((pairs, *SHAPE), value)


def unit_normal(seed: int = 0) -> torch.Tensor:
    draw = torch.from_numpy(stream(seed, "normal").standard_normal(SHAPE, np.float32))
    length: torch.Tensor = draw.norm()
    return draw / length


@given(st.floats(0.01, 0.99), st.integers(1, 12))
def test_the_search_ends_inside_and_within_its_width_of_the_boundary(share: float, halvings: int) -> None:
    """Along black to white the mean is the share of the way."""
    mean = torch.full(SHAPE, 1.0 / 36.0)
    actual = to_boundary(Linear(mean, torch.tensor([share])), grey(1, 0.0), grey(1, 1.0), halvings)
    height = float(actual.mean())
    assert share - 1e-6 < height <= share + 0.5**halvings + 1e-6


def test_every_pair_has_its_own_boundary() -> None:
    offsets = torch.tensor([0.25, 0.5, 0.75])
    actual = to_boundary(Linear(torch.full(SHAPE, 1.0 / 36.0), offsets), grey(3, 0.0), grey(3, 1.0), 12)
    assert actual.mean(dim=(1, 2, 3)).tolist() == pytest.approx(offsets.tolist(), abs=1e-3)


def test_an_estimated_direction_is_that_of_the_boundary() -> None:
    normal, points = unit_normal(), grey(3)
    inside = Linear(normal, Linear(normal, torch.zeros(3)).heights(points))
    actual = directions(inside, points, torch.full((3,), 0.1), 600, (0, 1)).flatten(1)
    assert actual.norm(dim=1).tolist() == pytest.approx([1.0] * 3, abs=1e-5)
    assert bool(((actual @ normal.flatten()) > 0.9).all())
    assert inside.images == 1800
    assert inside.largest <= 512


def test_directions_do_not_depend_on_one_another_or_on_chance() -> None:
    normal, points = unit_normal(), grey(30)
    inside = Linear(normal, Linear(normal, torch.zeros(30)).heights(points))
    width = torch.full((30,), 0.1)
    first, again = (directions(inside, points, width, 100, (7, 2)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, directions(inside, points, width, 100, (7, 3)))
    assert not torch.equal(first, directions(inside, points, width, 100, (8, 2)))


def test_the_mean_of_the_signs_is_subtracted_where_they_differ() -> None:
    moves = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]).reshape(1, 3, 2, 1, 1)
    # signs +1 -1 -1 less their mean -1/3: 4/3, -2/3, -2/3; the last two cancel
    mixed = mean_direction(moves, torch.tensor([[True, False, False]]))
    assert mixed.flatten().tolist() == pytest.approx([1.0, 0.0])
    for hits, sign in ((True, 1.0), (False, -1.0)):
        same = mean_direction(moves, torch.full((1, 3), hits))
        assert same.flatten().tolist() == pytest.approx([sign, 0.0])


def test_a_step_is_the_longest_that_stays_inside() -> None:
    """Towards black, of a mean above 0.3: from 0.5 the steps of 0.4, 0.2, 0.1 a pixel are tried."""
    inside = Linear(torch.full(SHAPE, 1.0 / 36.0), torch.tensor([0.25, 0.45]))
    down = torch.full((2, *SHAPE), -1.0 / 6.0)
    actual = steps(inside, grey(2), down, torch.full((2,), 2.4), tries=2)
    assert actual.mean(dim=(1, 2, 3)).tolist() == pytest.approx([0.3, 0.5])  # the second stays put
    assert inside.images == 4


def test_a_walk_comes_near_the_nearest_image_of_the_class() -> None:
    """From a corner of the cube to the foot of the perpendicular, at a distance known in closed form."""
    normal, sources = unit_normal(), grey(2)
    heights = Linear(normal, torch.zeros(2)).heights(sources)
    inside = Linear(normal, heights + 0.3)
    starts = (normal.sign() * 0.5 + 0.5).expand(2, *SHAPE).clone()
    far = distances(starts, sources)
    actual = walk(inside, sources, starts, WalkConfig(rounds=20, samples=100, halvings=12), seed=0)
    assert bool(inside(actual, np.arange(2, dtype=np.int32)).all())
    assert float(far.min()) > 2.9
    assert distances(actual, sources).tolist() == pytest.approx([0.3, 0.3], abs=0.02)


@given(st.integers(1, 4), st.integers(1, 9), st.integers(1, 6), st.integers(1, 4))
def test_the_least_a_walk_costs(rounds: int, samples: int, halvings: int, tries: int) -> None:
    """Where everything is inside, each step passes at once."""
    everywhere = Linear(torch.zeros(SHAPE), torch.tensor([-1.0]))
    config = WalkConfig(rounds, samples, halvings, tries)
    walk(everywhere, grey(1, 0.0), grey(1, 1.0), config, seed=0)
    assert everywhere.images == config.least_queries


def test_pairs_share_calls() -> None:
    normal, sources = unit_normal(), grey(40)
    inside: Inside = Linear(normal, Linear(normal, torch.zeros(40)).heights(sources) + 0.3)
    walk(inside, sources, grey(40) + 0.5 * normal.sign(), WalkConfig(2, 20, 4, 2), seed=0)
    assert isinstance(inside, Linear)
    assert inside.images / inside.calls > 40
    assert inside.largest <= 512


@pytest.mark.parametrize("name", ["rounds", "samples", "halvings", "tries"])
def test_settings_below_one_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="1 or more"):
        WalkConfig(**{name: 0})
