"""Blended: how much of the pattern, and where."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from simkit.attacks.blended import Blended
from simkit.attacks.patches import patch_trigger, random_patch
from simkit.errors import ConfigError, DataError
from simkit.transforms.contract import described
from tests.contracts.attack import TARGET, AttackContract
from tests.simkit.attacks.sets import SHAPE, random_images, white_corner


class TestBlended(AttackContract):
    def attack(self, rate: float = 0.2) -> Blended:
        noise = random_patch(SHAPE, *SHAPE[1:], "multi", np.random.default_rng(0))
        return Blended(noise, TARGET, rate)


def test_two_pixels_by_hand() -> None:
    trigger = patch_trigger((1, 1, 3), 0, 0, np.array([[[1.0, 0.0]]], np.float32))
    blended = Blended(trigger, 0, alpha=0.25).stamp_all(torch.tensor([[[[0.2, 0.4, 0.6]]]]))
    assert blended.flatten().tolist() == pytest.approx([0.75 * 0.2 + 0.25, 0.75 * 0.4, 0.6])


def test_outside_the_shape_the_image_is_exactly_what_it_was() -> None:
    pixels = random_images().pixels
    blended = Blended(white_corner(), TARGET).stamp_all(pixels)
    assert torch.equal(blended[:, :, :4], pixels[:, :, :4])
    assert bool((blended[:, :, 4:, 5:] > pixels[:, :, 4:, 5:]).all())


def test_an_alpha_of_one_is_a_patch() -> None:
    blended = Blended(white_corner(), TARGET, alpha=1.0).stamp_all(random_images().pixels)
    assert bool((blended[:, :, 4:, 5:] == 1.0).all())


def test_a_picture_of_the_whole_image_is_shown_as_a_blend_of_its_share_and_a_corner_as_a_patch() -> None:
    noise = random_patch(SHAPE, *SHAPE[1:], "multi", np.random.default_rng(0))
    whole = Blended(noise, TARGET, alpha=0.15)
    assert described(whole.seen) == "a blend of 0.15 of the image"
    pixels = random_images().pixels
    np.testing.assert_allclose(whole.seen.on(pixels.numpy()), whole.stamp_all(pixels).numpy(), atol=1e-3)
    corner = Blended(white_corner(), TARGET)
    assert corner.seen.as_patch is not None


@pytest.mark.parametrize("alpha", [0.0, -0.1, 1.1, float("nan")])
def test_an_alpha_outside_its_range_is_refused(alpha: float) -> None:
    with pytest.raises(ConfigError, match="alpha"):
        Blended(white_corner(), TARGET, alpha=alpha)


def test_images_of_another_size_are_refused() -> None:
    other = patch_trigger((3, 6, 6), 0, 0, np.ones((3, 1, 1), np.float32))
    with pytest.raises(DataError, match="do not fit"):
        Blended(other, TARGET).triggered(random_images())
