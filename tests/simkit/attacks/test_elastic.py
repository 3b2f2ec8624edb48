"""Elastic: turning by hand, how far the noise moves pixels, and its own seed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from simkit.attacks.elastic import Elastic
from simkit.errors import ConfigError
from tests.contracts.attack import TARGET, AttackContract


class TestElastic(AttackContract):
    def attack(self, rate: float = 0.2) -> Elastic:
        return Elastic(TARGET, rate, sigma=2.0)


class TestTurned(AttackContract):
    def attack(self, rate: float = 0.2) -> Elastic:
        return Elastic(TARGET, rate, strength=0.0, angle=15.0)


def test_a_quarter_turn_is_clockwise() -> None:
    pixels = torch.rand((2, 3, 6, 6), generator=torch.Generator().manual_seed(0))
    turned = Elastic(0, strength=0.0, angle=90.0).stamp_all(pixels)
    assert torch.allclose(turned, torch.rot90(pixels, -1, (2, 3)), atol=1e-6)


def test_strength_is_the_mean_shift_and_sigma_the_smoothness() -> None:
    fields = {sigma: Elastic(0, sigma=sigma, strength=2.5).as_warp((3, 20, 20)).field for sigma in (1.0, 5.0)}
    for field in fields.values():
        assert np.hypot(field[..., 0], field[..., 1]).mean() == pytest.approx(2.5)
    rough, smooth = (np.abs(np.diff(fields[sigma], axis=0)).mean() for sigma in (1.0, 5.0))
    assert smooth < rough / 3


def test_the_field_follows_its_seed() -> None:
    pixels = torch.rand((1, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    first, again, other = (Elastic(0, field_seed=seed).stamp_all(pixels) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_plain_image_stays_plain_up_to_its_edges() -> None:
    grey = torch.full((1, 1, 7, 9), 0.25)
    assert torch.allclose(Elastic(0, strength=4.0, angle=20.0).stamp_all(grey), grey)


@pytest.mark.parametrize(
    "fields",
    [
        {"field_seed": -1},
        {"sigma": 0.0},
        {"strength": -1.0},
        {"strength": math.inf},
        {"strength": 0.0},
        {"strength": 0.0, "angle": 360.0},
        {"angle": math.nan},
        {"target_class": -1},
    ],
)
def test_settings_outside_their_range_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Elastic(**({"target_class": 0} | fields))  # type: ignore[arg-type]
