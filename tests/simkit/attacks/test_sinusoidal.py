"""SIG: the wave by hand, and whose labels stay."""

from __future__ import annotations

import pytest
import torch

from simkit.attacks.sinusoidal import Sinusoidal
from simkit.errors import ConfigError
from tests.contracts.attack import TARGET, AttackContract


class TestCleanLabel(AttackContract):
    clean_label = True

    def attack(self, rate: float = 0.2) -> Sinusoidal:
        return Sinusoidal(TARGET, rate, frequency=2)


class TestRelabelled(AttackContract):
    def attack(self, rate: float = 0.2) -> Sinusoidal:
        return Sinusoidal(TARGET, rate, frequency=2, clean_label=False)


def test_a_wave_of_four_columns_by_hand() -> None:
    grey = torch.full((1, 2, 2, 4), 0.5)
    striped = Sinusoidal(0, amplitude=0.25, frequency=1).stamp_all(grey)
    for row in striped.flatten(0, 2):
        assert row.tolist() == pytest.approx([0.5, 0.75, 0.5, 0.25])


def test_what_leaves_the_range_is_cut() -> None:
    black_and_white = torch.tensor([[[[0.0] * 4, [1.0] * 4]]])
    striped = Sinusoidal(0, amplitude=0.25, frequency=1).stamp_all(black_and_white)
    assert striped[0, 0, 0].tolist() == pytest.approx([0.0, 0.25, 0.0, 0.0], abs=1e-7)
    assert striped[0, 0, 1].tolist() == pytest.approx([1.0, 1.0, 1.0, 0.75], abs=1e-7)


def test_waves_too_fine_for_the_image_are_refused() -> None:
    with pytest.raises(ConfigError, match="6 waves do not show in 12 columns; need fewer than 6"):
        Sinusoidal(0).stamp_all(torch.zeros(1, 1, 12, 12))


@pytest.mark.parametrize(
    "fields",
    [
        {"amplitude": 0.0},
        {"amplitude": 1.5},
        {"amplitude": float("nan")},
        {"frequency": 0.0},
        {"frequency": float("inf")},
        {"rate": 0.0},
    ],
)
def test_settings_outside_their_range_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="need"):
        Sinusoidal(0, **fields)  # type: ignore[arg-type]
