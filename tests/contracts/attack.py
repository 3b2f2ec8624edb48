"""What every attack must do; a test class for each overrides `attack` and what is special about it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import pytest
import torch

from simkit.attacks.registry import attack_from_json, attack_to_json
from simkit.data import ImageSet
from simkit.errors import DataError
from tests.simkit.attacks.sets import random_images, rows_changed, rows_relabelled

TARGET = 1


class AttackContract(ABC):
    """`attack()` is on class 1, for images of `random_images`; `meant` are the labels of the images that it is for."""

    meant: tuple[int, ...] = (0, 2, 3)
    clean_label: bool = False

    @abstractmethod
    def attack(self, rate: float = 0.2) -> Any: ...

    def poisoned_and_covers(self, rate: float) -> tuple[int, int]:
        """How many of 100 images are poisoned, and how many more are changed with their label kept."""
        return max(1, round(rate * 25 * (1 if self.clean_label else len(self.meant)))), 0

    @pytest.mark.parametrize(("rate", "seed"), [(0.001, 0), (0.05, 1), (0.2, 2**40), (0.33, 3)])
    def test_so_many_are_poisoned_and_only_theirs_are_relabelled(self, rate: float, seed: int) -> None:
        images, (poisoned, covers) = random_images(), self.poisoned_and_covers(rate)
        after = self.attack(rate).poison(images, seed)
        relabelled, changed = rows_relabelled(images, after), rows_changed(images, after)
        assert len(changed) == poisoned + covers
        assert len(relabelled) == (0 if self.clean_label else poisoned)
        assert set(relabelled) <= set(changed)
        assert (after.labels[relabelled] == TARGET).all()
        allowed = (TARGET,) if self.clean_label else self.meant
        theirs = changed if self.clean_label else relabelled
        assert np.isin(images.labels[theirs], allowed).all()

    def test_what_it_returns_is_a_set_of_the_same_kind(self) -> None:
        images = random_images()
        for after in (self.attack().poison(images, 0), self.attack().triggered(images)):
            assert (after.image_shape, after.classes, after.name) == (images.image_shape, images.classes, images.name)
            assert after.pixels.dtype == torch.float32
            assert bool(((after.pixels >= 0) & (after.pixels <= 1)).all())

    def test_it_is_a_function_of_the_seed_and_leaves_its_images_alone(self) -> None:
        images, attack = random_images(), self.attack()
        before = images.sha256()
        first = attack.poison(images, 5).sha256()
        attack.triggered(images)
        assert images.sha256() == before
        assert self.attack().poison(images, 5).sha256() == first
        assert attack.poison(images, 6).sha256() != first

    def test_the_global_generators_have_no_say(self) -> None:
        made = []
        for seed in (1, 2):
            torch.manual_seed(seed)
            np.random.seed(seed)  # the one that must not matter
            made.append(self.attack().poison(random_images(), 0).sha256())
        assert made[0] == made[1]

    def test_it_triggers_the_images_that_it_is_for_as_in_training(self) -> None:
        images, attack = random_images(), self.attack()
        rows = np.flatnonzero(np.isin(images.labels, self.meant))
        triggered = attack.triggered(images)
        assert torch.equal(triggered.pixels, attack.stamp_all(images.pixels[torch.from_numpy(rows)]))
        assert triggered.labels.tolist() == [TARGET] * len(rows)
        assert not torch.equal(triggered.pixels, images.take(rows).pixels)

    def test_poisoned_images_carry_what_triggered_ones_do(self) -> None:
        images, attack = random_images(), self.attack()
        after = attack.poison(images, 3)
        rows_of = rows_changed if self.clean_label else rows_relabelled
        rows = torch.from_numpy(rows_of(images, after))
        assert torch.equal(after.pixels[rows], attack.stamp_all(images.pixels[rows]))

    @pytest.mark.parametrize("rows", [[1, 5], [1]])
    def test_only_images_of_its_own_class_are_refused(self, rows: list[int]) -> None:
        with pytest.raises(DataError, match="none to attack"):
            self.attack().triggered(random_images().take(rows))

    def test_images_without_labels_are_refused(self) -> None:
        images = random_images()
        unlabelled = ImageSet.unlabelled(images.pixels, "loose", images.classes)
        with pytest.raises(DataError, match="no label"):
            self.attack().poison(unlabelled, 0)
        with pytest.raises(DataError, match="no label"):
            self.attack().triggered(unlabelled)

    def test_its_plain_values_make_it_again(self) -> None:
        images, fields = random_images(), attack_to_json(self.attack())
        again = attack_from_json(fields)
        assert attack_to_json(again) == fields
        assert again.poison(images, 4).sha256() == self.attack().poison(images, 4).sha256()
        assert again.triggered(images).sha256() == self.attack().triggered(images).sha256()
