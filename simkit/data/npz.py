"""Images in a NumPy archive with x_test, y_test, x_train, y_train, or images and labels; optionally `classes`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oracles.errors import one_line
from oracles.known_files import file_mistaken_for
from oracles.outside import ARRAYS_BYTES, read_outside, reason
from simkit.data.arrays import check_bytes, to_pixels
from simkit.data.images import ImageSet
from simkit.data.source import IndexArray, Split, choose, quarter_split
from simkit.errors import DataError
from simkit.npz import read_arrays
from simkit.triggers import IntArray


@dataclass(frozen=True)
class NpzSource:
    """A `.npz` file. Images are uint8 0..255 or float 0..1, in NHWC, NCHW or (grey) NHW; labels integers (N,).

    x_test and y_test, x_train and y_train: one pair is enough if only that split is used. `images` and `labels` have a
    fixed split, a quarter of which is for testing. Nothing is unpickled.
    """

    path: Path

    @property
    def kind(self) -> str:
        """See `Source.kind`."""
        return "a NumPy archive"

    def size(self, split: Split) -> int:
        """See `Source.size`."""
        return len(_part(_read(self.path), split, self.path)[2])

    def read(self, split: Split, limit: int | None, seed: int) -> ImageSet:
        """See `Source.read`."""
        arrays = _read(self.path)
        images, labels, rows = _part(arrays, split, self.path)
        chosen = rows[choose(len(rows), limit, seed, split)]
        check_bytes(images, str(self.path))
        _check_floats(images, rows, self.path)
        pixels = to_pixels(images[chosen], str(self.path))
        return ImageSet(pixels, labels[chosen], _classes(arrays, self.path), f"{self.path.stem}/{split}")


def _read(path: Path) -> dict[str, NDArray[Any]]:
    if kind := file_mistaken_for(path):
        raise DataError(f"{path}: is {kind}")
    try:
        arrays = read_arrays(read_outside(path, ARRAYS_BYTES))
    except OSError as error:
        raise DataError(f"{path}: cannot be read as a .npz: {reason(error)}") from error
    except Exception as error:  # zipfile, zlib and NumPy raise errors of many types on a damaged archive
        raise DataError(f"{path}: cannot be read as a .npz of plain arrays: {one_line(error)}") from error
    strange = sorted(name for name, array in arrays.items() if not isinstance(array, np.ndarray))
    if strange:
        raise DataError(f"{path}: {strange[0]} is no array; write the file with numpy.savez")
    return arrays


def _part(arrays: dict[str, NDArray[Any]], split: Split, path: Path) -> tuple[NDArray[Any], IntArray, IndexArray]:
    """The images and labels that contain the split, and its rows among them."""
    if {f"x_{split}", f"y_{split}"} <= set(arrays):
        images, labels = arrays[f"x_{split}"], _labels(arrays, f"y_{split}", path)
        rows = np.arange(len(labels), dtype=np.int64)
    elif not {"images", "labels"} <= set(arrays):
        names = ", ".join(sorted(arrays)) or "nothing"
        raise DataError(f"{path}: holds {names}; name the arrays x_{split} and y_{split}, or images and labels")
    else:
        images, labels = arrays["images"], _labels(arrays, "labels", path)
        rows = quarter_split(labels, str(path))[split]
    if images.ndim == 0 or len(images) != len(labels) or len(labels) == 0:
        raise DataError(f"{path}: images {images.shape} and labels {labels.shape} of {split}; need one label per image")
    return images, labels, rows


def _labels(arrays: dict[str, NDArray[Any]], name: str, path: Path) -> IntArray:
    labels = arrays[name]
    if labels.ndim == 2 and labels.shape[1] == 1:  # the layout of Keras data sets
        labels = labels[:, 0]
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        names = "; numpy.unique(labels, return_inverse=True)[1] numbers names, in the order of the alphabet"
        named = names if labels.ndim == 1 and labels.dtype.kind in "US" else ""
        raise DataError(f"{path}: {name} is {labels.dtype} {labels.shape}; need integers (N,){named}")
    wrong = np.flatnonzero((labels < 0) | (labels > np.iinfo(np.int16).max))
    if len(wrong):
        label = int(labels[wrong[0]])
        unknown = ", and -1 means that a class is unknown: leave such rows out" if label == -1 else ""
        raise DataError(f"{path}: {name} is {label} in row {wrong[0]}; classes are counted from 0{unknown}")
    return labels.astype(np.int32)


def _classes(arrays: dict[str, NDArray[Any]], path: Path) -> tuple[str, ...]:
    if "classes" in arrays:
        return tuple(str(name) for name in np.atleast_1d(arrays["classes"]))
    names = {"y_train", "y_test", "labels"} & set(arrays)
    largest = max(int(_labels(arrays, name, path).max(initial=0)) for name in names)
    return tuple(str(label) for label in range(largest + 1))


def _check_floats(images: NDArray[Any], rows: IndexArray, path: Path) -> None:
    """Check every image of the split, chosen or not, so that the result does not depend on the seed."""
    if not np.issubdtype(images.dtype, np.floating):
        return
    flat = images[rows].reshape(len(rows), -1)
    for wrong, what in (
        (~np.isfinite(flat), "holds NaN or infinity; repair it or take it out"),
        ((flat < 0.0) | (flat > 1.0), "leaves [0, 1]; scale it, or store uint8 0..255"),
    ):
        if wrong.any():
            raise DataError(f"{path}: the float image in row {int(rows[wrong.any(axis=1).argmax()])} {what}")
