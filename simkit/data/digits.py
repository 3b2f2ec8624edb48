"""The handwritten digits that scikit-learn carries: 1,797 grey images of 8x8 pixels, no download."""

from __future__ import annotations

import numpy as np
import torch

from simkit.data.images import ImageSet
from simkit.data.source import Split, choose, fixed_split
from simkit.triggers import FloatArray, IntArray

_TEST_IMAGES = 500
_CLASSES = tuple(str(digit) for digit in range(10))


class Digits:
    """1,297 images to train on and 500 to test with, in a stratified split that is always the same."""

    @property
    def kind(self) -> str:
        """See `Source.kind`."""
        return "the digits of scikit-learn"

    def size(self, split: Split) -> int:
        """See `Source.size`."""
        return len(fixed_split(_digits()[1], _TEST_IMAGES, "digits")[split])

    def read(self, split: Split, limit: int | None, seed: int) -> ImageSet:
        """See `Source.read`."""
        pixels, labels = _digits()
        part = fixed_split(labels, _TEST_IMAGES, "digits")[split]
        chosen = part[choose(len(part), limit, seed, split)]
        return ImageSet(torch.from_numpy(pixels[chosen]), labels[chosen], _CLASSES, f"digits/{split}")


def _digits() -> tuple[FloatArray, IntArray]:
    from sklearn.datasets import load_digits  # type: ignore[import-untyped]  # slow to import

    pixels, labels = load_digits(return_X_y=True)  # grey levels 0..16
    return (pixels.reshape(-1, 1, 8, 8) / 16.0).astype(np.float32), labels.astype(np.int32)
