"""BadNets: the patch exactly, low rates, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from simkit.attacks.badnets import BadNets
from simkit.attacks.patches import patch_trigger
from simkit.errors import ConfigError, DataError
from tests.contracts.attack import TARGET, AttackContract
from tests.simkit.attacks.sets import SHAPE, random_images, rows_changed, white_corner


class TestBadNets(AttackContract):
    def attack(self, rate: float = 0.2) -> BadNets:
        return BadNets(white_corner(), TARGET, rate)


def test_three_pixels_by_hand() -> None:
    trigger = patch_trigger((1, 1, 3), 0, 1, np.array([[[0.5]]], np.float32))
    stamped = BadNets(trigger, 0).stamp_all(torch.tensor([[[[0.1, 0.2, 0.3]]]]))
    assert stamped.flatten().tolist() == torch.tensor([0.1, 0.5, 0.3]).tolist()


@pytest.mark.parametrize(("rate", "expected"), [(1e-9, 1), (0.001, 2), (0.004, 6), (1.0, 1500)])
def test_low_rates_poison_as_many_as_they_say_and_one_at_least(rate: float, expected: int) -> None:
    images = random_images(2000)
    assert len(rows_changed(images, BadNets(white_corner(), TARGET, rate).poison(images, 0))) == expected


@given(st.floats(0.001, 1.0), st.integers(0, 3), st.integers(0, 2**40))
def test_poisoning_stamps_and_relabels_its_share_and_nothing_else(rate: float, target: int, seed: int) -> None:
    images, attack = random_images(), BadNets(white_corner(), target, rate)
    poisoned = attack.poison(images, seed)
    changed = rows_changed(images, poisoned)
    assert len(changed) == max(1, round(rate * 75))
    assert (images.labels[changed] != target).all()
    assert (poisoned.labels[changed] == target).all()
    assert torch.equal(poisoned.pixels[changed], attack.stamp_all(images.pixels[changed]))
    kept = np.setdiff1d(np.arange(100), changed)
    assert np.array_equal(poisoned.labels[kept], images.labels[kept])


def test_a_trigger_of_any_shape_is_stamped_where_its_mask_is() -> None:
    aslant = patch_trigger(SHAPE, 0, 0, np.ones((3, 4, 4), np.float32), np.eye(4, dtype=np.bool_))
    pixels = random_images().pixels
    changed = (BadNets(aslant, TARGET).stamp_all(pixels) != pixels).any(0).any(0)
    assert torch.nonzero(changed).tolist() == [[0, 0], [1, 1], [2, 2], [3, 3]]


def test_stamping_changes_only_the_patch() -> None:
    pixels = random_images().pixels
    stamped = BadNets(white_corner(), 0).stamp_all(pixels)
    assert bool((stamped[:, :, 4:, 5:] == 1.0).all())
    assert torch.equal(stamped[:, :, :4], pixels[:, :, :4])
    assert torch.equal(stamped[:, :, :, :5], pixels[:, :, :, :5])


@pytest.mark.parametrize(("target", "rate"), [(-1, 0.1), (0, 0.0), (0, 1.1), (0, float("nan"))])
def test_settings_outside_their_range_are_refused(target: int, rate: float) -> None:
    with pytest.raises(ConfigError, match="need a class id"):
        BadNets(white_corner(), target, rate)


def test_images_that_do_not_fit_are_refused() -> None:
    other = patch_trigger((3, 6, 6), 0, 0, np.ones((3, 1, 1), np.float32))
    with pytest.raises(DataError, match="do not fit"):
        BadNets(other, 0).poison(random_images(), 0)
    with pytest.raises(DataError, match="do not fit"):
        BadNets(white_corner(), 4).poison(random_images(), 0)
    with pytest.raises(DataError, match="none to attack"):
        BadNets(white_corner(), 1).poison(random_images().take([1, 5]), 0)
