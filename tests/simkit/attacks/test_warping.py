"""WaNet: bending by hand, the field, and the covers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from simkit.attacks.warping import Warping, warp, warping_field
from simkit.errors import ConfigError, DataError
from tests.contracts.attack import TARGET, AttackContract
from tests.simkit.attacks.sets import random_images, rows_changed, rows_relabelled


class TestWarping(AttackContract):
    def attack(self, rate: float = 0.2) -> Warping:
        return Warping(TARGET, rate)

    def poisoned_and_covers(self, rate: float) -> tuple[int, int]:
        poisoned = max(1, round(rate * 75))
        return poisoned, min(100 - poisoned, 2 * poisoned)


class TestWithoutCovers(AttackContract):
    def attack(self, rate: float = 0.2) -> Warping:
        return Warping(TARGET, rate, field_seed=3, covers=0.0)


def _ramp() -> torch.Tensor:
    """0 to 0.4 across, the same in three rows."""
    return (torch.arange(5) / 10.0).expand(1, 1, 3, 5).contiguous()


@pytest.mark.parametrize(
    ("across", "expected"),
    [(0.0, [0.0, 0.1, 0.2, 0.3, 0.4]), (1.0, [0.1, 0.2, 0.3, 0.4, 0.4]), (-0.5, [0.0, 0.05, 0.15, 0.25, 0.35])],
)
def test_a_shift_across_by_hand(across: float, expected: list[float]) -> None:
    bent = warp(_ramp(), torch.tensor([across, 0.0]).expand(1, 3, 5, 2))
    for row in bent[0, 0]:
        assert row.tolist() == pytest.approx(expected, abs=1e-6)


def test_a_shift_down_by_hand() -> None:
    tall = _ramp().transpose(2, 3).contiguous()
    bent = warp(tall, torch.tensor([0.0, 1.0]).expand(1, 5, 3, 2))
    assert bent[0, 0, :, 0].tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4], abs=1e-6)


def test_the_field_is_half_the_strength_in_pixels_where_it_is_drawn() -> None:
    field = warping_field((4, 4), 4, 0.5, seed=0)  # as many pixels as grid points: nothing between to smooth
    assert float(field.abs().mean()) == pytest.approx(0.5 * 3 / (2 * 4), rel=1e-5)


def test_the_field_follows_its_seed_and_fits_images_that_are_not_square() -> None:
    fields = [warping_field((6, 9), 4, 0.5, seed) for seed in (0, 0, 1)]
    assert fields[0].shape == (1, 6, 9, 2)
    assert torch.equal(fields[0], fields[1])
    assert not torch.equal(fields[0], fields[2])


def test_twice_the_strength_is_twice_the_field() -> None:
    assert torch.allclose(2 * warping_field((6, 9), 4, 0.5, 0), warping_field((6, 9), 4, 1.0, 0))


def test_covers_keep_their_labels_and_are_bent_otherwise() -> None:
    images, attack = random_images(), Warping(TARGET, 0.1)
    after = attack.poison(images, 0)
    covers = np.setdiff1d(rows_changed(images, after), rows_relabelled(images, after))
    assert len(covers) == 16
    rows = torch.from_numpy(covers)
    bent, plain = attack.stamp_all(images.pixels[rows]), after.pixels[rows]
    assert bool((bent != plain).flatten(1).any(1).all())


@pytest.mark.parametrize(
    "fields",
    [
        {"field_seed": -1},
        {"grid": 1},
        {"strength": 0.0},
        {"strength": float("inf")},
        {"covers": -1.0},
        {"rate": 0.4, "covers": 2.0},
        {"covers": float("nan")},
        {"target_class": -1},
    ],
)
def test_settings_outside_their_range_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Warping(**({"target_class": 0} | fields))  # type: ignore[arg-type]


def test_images_of_one_row_cannot_be_bent() -> None:
    images = random_images()
    line = type(images)(images.pixels[:, :, :1].contiguous(), images.labels, images.classes, "line")
    with pytest.raises(DataError, match="cannot be warped"):
        Warping(TARGET).poison(line, 0)
