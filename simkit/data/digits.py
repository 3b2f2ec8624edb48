"""The handwritten digits of scikit-learn: 1,797 grey images of 8x8 pixels, without a download."""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from simkit.data.images import ImageSet
from simkit.data.source import Split, choose, fixed_split
from simkit.errors import DataError
from simkit.triggers import FloatArray, IntArray

_TEST_IMAGES = 500
_CLASSES = tuple(str(digit) for digit in range(10))


class Digits:
    """1,297 training images and 500 test images, in a stratified split that is always the same."""

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
        return ImageSet(pixels[chosen], labels[chosen], _CLASSES, f"digits/{split}")


def _digits() -> tuple[FloatArray, IntArray]:
    # the file that `sklearn.datasets.load_digits` reads, which takes as long as torch to import
    package = find_spec("sklearn")
    if package is None or not package.submodule_search_locations:
        raise DataError("digits: scikit-learn, which contains them, is not installed; pip install scikit-learn")
    file = Path(package.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"
    try:
        with gzip.open(file, "rt", encoding="ascii") as text:
            table = np.loadtxt(text, delimiter=",", dtype=np.float64)  # 64 grey levels 0..16 and the class
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); install scikit-learn again") from error
    return (table[:, :-1].reshape(-1, 1, 8, 8) / 16.0).astype(np.float32), table[:, -1].astype(np.int32)
