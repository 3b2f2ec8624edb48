"""BadNets: where the patch goes, and which images are poisoned."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from simkit.attacks.badnets import BadNets, patch_trigger, random_patch
from simkit.data import ImageSet
from simkit.errors import ConfigError, DataError
from simkit.triggers import Trigger

SHAPE = (3, 6, 7)


def _images(n: int = 100, n_classes: int = 4) -> ImageSet:
    rng = np.random.default_rng(1)
    pixels = torch.from_numpy(rng.random((n, *SHAPE), dtype=np.float32))
    labels = (np.arange(n) % n_classes).astype(np.int32)
    return ImageSet(pixels, labels, tuple("abcdefgh"[:n_classes]), "random")


def _corner() -> Trigger:
    return patch_trigger(SHAPE, 4, 5, np.ones((3, 2, 2), np.float32))


def test_a_patch_is_where_and_what_it_was_told() -> None:
    colours = np.arange(12, dtype=np.float32).reshape(3, 2, 2) / np.float32(12)
    trigger = patch_trigger(SHAPE, 1, 3, colours)
    assert trigger.mask_size == 4.0
    assert np.array_equal(trigger.pattern[:, 1:3, 3:5], colours)
    assert np.argwhere(trigger.mask[0]).tolist() == [[1, 3], [1, 4], [2, 3], [2, 4]]
    assert trigger.pattern.sum() == colours.sum()


@pytest.mark.parametrize(("row", "col"), [(-1, 0), (0, -1), (5, 0), (0, 6)])
def test_a_patch_that_leaves_the_image_is_refused(row: int, col: int) -> None:
    with pytest.raises(ConfigError, match=r"2x2 patch at row .* leaves the 6x7 image"):
        patch_trigger(SHAPE, row, col, np.ones((3, 2, 2), np.float32))


@pytest.mark.parametrize(
    "colours",
    [
        np.ones((1, 2, 2), np.float32),
        np.ones((3, 2, 2), np.float64),
        np.full((3, 1, 1), 2.0, np.float32),
        np.full((3, 1, 1), np.nan, np.float32),
        np.ones((3, 0, 1), np.float32),
    ],
)
def test_wrong_colours_are_refused(colours: Any) -> None:
    with pytest.raises(ConfigError, match="colours"):
        patch_trigger(SHAPE, 0, 0, colours)


@given(st.integers(1, 6), st.integers(1, 7), st.sampled_from(["solid", "multi"]), st.integers(0, 2**32))
def test_a_random_patch_has_its_size_and_8_bit_colours(
    height: int, width: int, kind: Literal["solid", "multi"], seed: int
) -> None:
    trigger = random_patch(SHAPE, height, width, kind, np.random.default_rng(seed))
    rows, cols = np.nonzero(trigger.mask[0])
    assert trigger.mask_size == height * width
    assert (int(np.ptp(rows)) + 1, int(np.ptp(cols)) + 1) == (height, width)
    steps = trigger.pattern * 255.0
    assert np.abs(steps - np.rint(steps)).max() < 1e-4
    colours = {tuple(trigger.pattern[:, r, c]) for r, c in zip(rows, cols, strict=True)}
    assert kind == "multi" or len(colours) == 1


def test_random_patches_reach_every_place_and_multi_ones_have_many_colours() -> None:
    rng = np.random.default_rng(0)
    patches = [random_patch(SHAPE, 2, 2, "multi", rng) for _ in range(300)]
    assert all((np.stack([p.mask for p in patches]) > 0).any(axis=0).ravel())
    assert len(np.unique(patches[0].pattern)) > 5


def test_a_random_patch_larger_than_the_image_is_refused() -> None:
    with pytest.raises(ConfigError, match="7x1 patch does not fit a 6x7 image"):
        random_patch(SHAPE, 7, 1, "solid", np.random.default_rng(0))


@given(st.floats(0.001, 1.0), st.integers(0, 3), st.integers(0, 2**40))
def test_poisoning_stamps_and_relabels_its_share_and_nothing_else(rate: float, target: int, seed: int) -> None:
    images, attack = _images(), BadNets(_corner(), target, rate)
    poisoned = attack.poison(images, seed)
    changed = np.flatnonzero((poisoned.pixels != images.pixels).flatten(1).any(1).numpy())
    assert len(changed) == max(1, round(rate * 75))
    assert (images.labels[changed] != target).all()
    assert (poisoned.labels[changed] == target).all()
    assert torch.equal(poisoned.pixels[changed], attack.stamp_all(images.pixels[changed]))
    kept = np.setdiff1d(np.arange(100), changed)
    assert np.array_equal(poisoned.labels[kept], images.labels[kept])


def test_poisoning_leaves_the_original_alone_and_follows_the_seed() -> None:
    images, attack = _images(), BadNets(_corner(), 1, 0.2)
    before = images.sha256()
    first = attack.poison(images, 5).sha256()
    assert images.sha256() == before
    assert attack.poison(images, 5).sha256() == first
    assert attack.poison(images, 6).sha256() != first


def test_every_image_of_another_class_is_triggered_and_relabelled() -> None:
    images, attack = _images(), BadNets(_corner(), 1, 0.2)
    triggered = attack.triggered(images)
    others = torch.from_numpy(images.labels != 1)
    assert torch.equal(triggered.pixels, attack.stamp_all(images.pixels[others]))
    assert triggered.labels.tolist() == [1] * int(others.sum())
    with pytest.raises(DataError, match="none to attack"):
        attack.triggered(images.take([1, 5]))


def test_stamping_changes_only_the_patch() -> None:
    pixels = _images().pixels
    stamped = BadNets(_corner(), 0).stamp_all(pixels)
    assert bool((stamped[:, :, 4:, 5:] == 1.0).all())
    assert torch.equal(stamped[:, :, :4], pixels[:, :, :4])
    assert torch.equal(stamped[:, :, :, :5], pixels[:, :, :, :5])


@pytest.mark.parametrize(("target", "rate"), [(-1, 0.1), (0, 0.0), (0, 1.1), (0, float("nan"))])
def test_settings_outside_their_range_are_refused(target: int, rate: float) -> None:
    with pytest.raises(ConfigError, match="need a class id"):
        BadNets(_corner(), target, rate)


def test_images_that_do_not_fit_are_refused() -> None:
    other = patch_trigger((3, 6, 6), 0, 0, np.ones((3, 1, 1), np.float32))
    with pytest.raises(DataError, match="do not fit"):
        BadNets(other, 0).poison(_images(), 0)
    with pytest.raises(DataError, match="do not fit"):
        BadNets(_corner(), 4).poison(_images(), 0)
    with pytest.raises(DataError, match="none to attack"):
        BadNets(_corner(), 1).poison(_images().take([1, 5]), 0)
