"""Images to attack, and what an attack did to them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from simkit.attacks.patches import patch_trigger
from simkit.data import ImageSet
from simkit.triggers import Trigger

SHAPE = (3, 6, 7)
N_CLASSES = 4


def random_images(n: int = 100) -> ImageSet:
    """`n` images of noise, a quarter of each class in turn."""
    rng = np.random.default_rng(1)
    pixels = torch.from_numpy(rng.random((n, *SHAPE), dtype=np.float32))
    labels = (np.arange(n) % N_CLASSES).astype(np.int32)
    return ImageSet(pixels, labels, tuple("abcd"), "random")


def white_corner() -> Trigger:
    """2x2 at the bottom right."""
    return patch_trigger(SHAPE, 4, 5, np.ones((3, 2, 2), np.float32))


def rows_changed(before: ImageSet, after: ImageSet) -> NDArray[np.intp]:
    """The images whose pixels differ."""
    return np.flatnonzero((before.pixels != after.pixels).flatten(1).any(1).numpy())


def rows_relabelled(before: ImageSet, after: ImageSet) -> NDArray[np.intp]:
    return np.flatnonzero(before.labels != after.labels)
