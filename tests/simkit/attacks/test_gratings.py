"""Gratings: stripes by hand, their direction and colours, and two that cross."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from simkit.attacks.gratings import Gratings
from simkit.attacks.sinusoidal import Sinusoidal
from simkit.errors import ConfigError
from tests.contracts.attack import TARGET, AttackContract


class TestGratings(AttackContract):
    def attack(self, rate: float = 0.2) -> Gratings:
        return Gratings(TARGET, rate, period=4.5, angle=30.0)


class TestPlaid(AttackContract):
    def attack(self, rate: float = 0.2) -> Gratings:
        return Gratings(TARGET, rate, angle=10.0, crossed=90.0, shifted=120.0)


def _added(attack: Gratings, height: int, width: int) -> np.ndarray:
    grey = torch.full((1, 3, height, width), 0.5)
    return (attack.stamp_all(grey) - grey)[0].numpy()


def test_a_wave_of_four_pixels_by_hand() -> None:
    added = _added(Gratings(0, amplitude=0.25, period=4.0), 2, 5)  # the middle column is the middle of the image
    for row in added.reshape(-1, 5):
        assert row.tolist() == pytest.approx([0.0, -0.25, 0.0, 0.25, 0.0], abs=1e-6)


def test_ninety_degrees_are_the_same_stripes_downwards() -> None:
    across, down = (_added(Gratings(0, period=5.0, angle=angle), 8, 8) for angle in (0.0, 90.0))
    assert np.allclose(down, across.transpose(0, 2, 1), atol=1e-6)


def test_two_that_cross_share_the_amplitude() -> None:
    one, other, both = (
        _added(Gratings(0, 0.1, 0.2, 5.0, **more), 9, 9) for more in ({}, {"angle": 60.0}, {"crossed": 60.0})
    )
    assert np.allclose(both, (one + other) / 2, atol=1e-6)


def test_a_shift_of_a_third_leaves_grey_images_equally_bright() -> None:
    added = _added(Gratings(0, shifted=120.0), 8, 8)
    assert np.allclose(added.sum(axis=0), 0.0, atol=1e-6)
    assert np.abs(added).max() > 0.05


def test_they_can_make_the_stripes_of_the_other_attack() -> None:
    pixels = torch.rand((2, 3, 10, 12), generator=torch.Generator().manual_seed(0))
    ours = Gratings(0, amplitude=0.1, period=4.0, phase=math.degrees(2 * math.pi * 5.5 / 4))
    assert torch.allclose(
        ours.stamp_all(pixels), Sinusoidal(0, amplitude=0.1, frequency=3).stamp_all(pixels), atol=1e-6
    )


@pytest.mark.parametrize(
    "fields",
    [{"amplitude": 0.0}, {"amplitude": 1.1}, {"period": 2.0}, {"period": math.inf}, {"angle": math.nan}, {"rate": 0.0}],
)
def test_settings_outside_their_range_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Gratings(0, **fields)
