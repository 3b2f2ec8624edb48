"""Label-consistent: true labels, weakened images, and the trigger alone at test time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from simkit.attacks.label_consistent import LabelConsistent
from simkit.errors import ConfigError, DataError
from tests.contracts.attack import TARGET, AttackContract
from tests.simkit.attacks.sets import random_images, rows_changed, white_corner


class _Hardened(AttackContract):
    clean_label = True

    def test_poisoned_images_carry_what_triggered_ones_do(self) -> None:
        images = random_images()
        poisoned = self.attack().poison(images, 3)
        after = poisoned.pixels[torch.from_numpy(rows_changed(images, poisoned))]
        assert bool((after[:, :, 4:, 5:] == 1.0).all())


class TestMixed(_Hardened):
    def attack(self, rate: float = 0.2) -> LabelConsistent:
        return LabelConsistent(white_corner(), TARGET, rate)


class TestNoised(_Hardened):
    def attack(self, rate: float = 0.2) -> LabelConsistent:
        return LabelConsistent(white_corner(), TARGET, rate, harden="noise", strength=0.1)


def _poisoned(**fields: object) -> tuple[torch.Tensor, torch.Tensor]:
    """Before and after, of the images that were poisoned."""
    images = random_images()
    after = LabelConsistent(white_corner(), TARGET, **fields).poison(images, 0)  # type: ignore[arg-type]
    rows = torch.from_numpy(rows_changed(images, after))
    return images.pixels[rows], after.pixels[rows]


def test_without_strength_only_the_trigger_is_new() -> None:
    for harden in ("mix", "noise"):
        before, after = _poisoned(harden=harden, strength=0.0)
        assert torch.equal(after[:, :, :4], before[:, :, :4])


def test_noise_stays_within_its_strength_and_reaches_it_nearly() -> None:
    before, after = _poisoned(harden="noise", strength=0.1)
    change = (after - before)[:, :, :4].abs()
    assert 0.09 < float(change.max()) <= 0.1 + 1e-6


def test_a_mix_is_with_one_image_of_another_class() -> None:
    images = random_images()
    before, after = _poisoned(strength=0.5)
    others = images.pixels[torch.from_numpy(images.labels != TARGET)]
    for old, new in zip(before, after, strict=True):
        candidates = torch.lerp(old.expand_as(others), others, 0.5)
        assert (candidates - new)[:, :, :4].abs().amax(dim=(1, 2, 3)).min() < 1e-6


def test_a_mix_needs_other_classes_and_noise_does_not() -> None:
    alone = random_images().take([1, 5, 9])
    with pytest.raises(DataError, match="every image is of the target class"):
        LabelConsistent(white_corner(), TARGET).poison(alone, 0)
    noised = LabelConsistent(white_corner(), TARGET, harden="noise").poison(alone, 0)
    assert np.array_equal(noised.labels, alone.labels)


@pytest.mark.parametrize("fields", [{"harden": "gan"}, {"strength": -0.1}, {"strength": 1.1}, {"rate": 0.0}])
def test_settings_outside_their_range_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        LabelConsistent(white_corner(), TARGET, **fields)  # type: ignore[arg-type]
