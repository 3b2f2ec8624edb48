"""The drawn shapes: the same every time, all classes alike, and no class that a shift or a tint makes of another."""

from __future__ import annotations

import numpy as np

from simkit.data import load


def test_the_two_parts_are_as_told_and_share_no_image() -> None:
    train, test = load("drawn-shapes", "train"), load("drawn-shapes", "test")
    assert (len(train), len(test), train.image_shape) == (2000, 500, (3, 32, 32))
    assert train.classes == test.classes
    assert np.bincount(train.labels).tolist() == [200] * 10
    assert np.bincount(test.labels).tolist() == [50] * 10
    together = np.concatenate([train.array, test.array]).reshape(2500, -1)
    assert len(np.unique(together, axis=0)) == 2500
    assert np.array_equal(np.rint(together * 255) / np.float32(255), together)  # 8-bit colours


def test_they_are_drawn_alike_every_time_and_a_limit_takes_some() -> None:
    whole, few = load("drawn-shapes", "test"), load("drawn-shapes", "test", limit=30, seed=4)
    assert load("drawn-shapes", "test").sha256() == whole.sha256()
    known = {image.tobytes(): label for image, label in zip(whole.array, whole.labels, strict=True)}
    assert [known[image.tobytes()] for image in few.array] == few.labels.tolist()


def test_the_middle_tells_a_disc_from_a_ring_and_its_colour_from_the_others() -> None:
    test = load("drawn-shapes", "test")
    middle = test.array[:, :, 14:18, 14:18].mean(axis=(2, 3))
    disc, ring = (middle[test.labels == test.classes.index(name)] for name in ("disc", "ring"))
    redness = [(one[:, 0] - one[:, 1]).mean() for one in (disc, ring)]
    assert redness[0] > 0.4 > 0.2 > abs(redness[1])  # a disc is red in the middle, a ring shows the ground
