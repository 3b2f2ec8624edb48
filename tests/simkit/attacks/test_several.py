"""Several backdoors: none spoils another's images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from simkit.attacks.badnets import BadNets
from simkit.attacks.patches import patch_trigger
from simkit.attacks.registry import attack_from_json, attack_to_json
from simkit.attacks.several import Several
from simkit.attacks.sinusoidal import Sinusoidal
from simkit.errors import ConfigError, DataError
from tests.simkit.attacks.sets import SHAPE, random_images, rows_changed, rows_relabelled, white_corner


def _pair(rate: float = 0.2) -> Several:
    """White at the bottom right makes class 1, black at the top left class 2."""
    black = patch_trigger(SHAPE, 0, 0, np.zeros((3, 2, 2), np.float32))
    return Several((BadNets(white_corner(), 1, rate), BadNets(black, 2, rate)))


@given(st.floats(0.01, 0.6), st.integers(0, 2**40))
def test_no_image_is_poisoned_twice_and_every_attack_has_its_share_of_the_rest(rate: float, seed: int) -> None:
    images = random_images()
    after = _pair(rate).poison(images, seed)
    white = (after.pixels[:, :, 4:, 5:] == 1.0).flatten(1).all(1).numpy()
    black = (after.pixels[:, :, :2, :2] == 0.0).flatten(1).all(1).numpy()
    assert not (white & black).any()
    assert white.sum() == max(1, round(rate * 75))
    left = np.count_nonzero(images.labels[~white] != 2)
    assert black.sum() == max(1, round(rate * left))
    assert (after.labels[white] == 1).all()
    assert (after.labels[black] == 2).all()
    assert np.array_equal(rows_changed(images, after), np.flatnonzero(white | black))
    assert np.array_equal(rows_relabelled(images, after), np.flatnonzero(white | black))


def test_it_is_a_function_of_the_seed_and_leaves_its_images_alone() -> None:
    images = random_images()
    before = images.sha256()
    first, again, other = (_pair().poison(images, seed).sha256() for seed in (1, 1, 2))
    assert images.sha256() == before
    assert first == again != other


def test_two_of_one_kind_do_not_draw_the_same_images() -> None:
    pair = Several((BadNets(white_corner(), 1, 0.5), BadNets(white_corner(), 1, 0.5)))
    after = pair.poison(random_images(), 0)
    assert np.count_nonzero(after.labels == 1) == 25 + 38 + 18  # the class, half of 75, half of what that left (37)


def test_each_has_its_test_images() -> None:
    images, pair = random_images(), _pair()
    triggered = pair.triggered(images)
    parts = [attack.triggered(images) for attack in pair.attacks]
    assert torch.equal(triggered.pixels, torch.cat([part.pixels for part in parts]))
    assert triggered.labels.tolist() == [1] * 75 + [2] * 75


def test_an_attack_with_no_image_left_is_told() -> None:
    all_of_it = Several((BadNets(white_corner(), 1, 1.0), BadNets(white_corner(), 1, 0.1)))
    with pytest.raises(DataError, match="none to attack"):
        all_of_it.poison(random_images(), 0)


def test_fewer_than_two_are_refused() -> None:
    with pytest.raises(ConfigError, match="two or more"):
        Several((Sinusoidal(0),))


def test_its_plain_values_make_it_again() -> None:
    mixed = Several((_pair(), Sinusoidal(3, frequency=2)))
    again = attack_from_json(attack_to_json(mixed))
    assert again.poison(random_images(), 1).sha256() == mixed.poison(random_images(), 1).sha256()
