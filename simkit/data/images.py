"""Images in memory with their classes, where known; checked once, when an `ImageSet` is created."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from simkit.errors import DataError
from simkit.triggers import FloatArray, IntArray

if TYPE_CHECKING:
    import torch

ImageShape: TypeAlias = tuple[int, int, int]


@dataclass(frozen=True, eq=False, init=False)
class ImageSet:
    """Images of one size and their classes.

    pixels: float32 (N, C, H, W) in [0, 1], N >= 1, a tensor or an array; `array` and `pixels` are both views of it.
    labels: int32 (N,), each an index into `classes`, or -1 if unknown. classes: names, empty if not named. name: of the
    source, for messages. Raises DataError on anything else.
    """

    array: FloatArray
    labels: IntArray
    classes: tuple[str, ...]
    name: str

    def __init__(
        self, pixels: torch.Tensor | FloatArray, labels: IntArray, classes: tuple[str, ...], name: str
    ) -> None:
        _check_kind(pixels, name)
        array = pixels if isinstance(pixels, np.ndarray) else pixels.detach().cpu().numpy()
        _check_range(array, name)
        _check_labels(labels, len(array), len(classes), name)
        for field, value in (("array", array), ("labels", labels), ("classes", classes), ("name", name)):
            object.__setattr__(self, field, value)

    def __len__(self) -> int:
        return len(self.array)

    @classmethod
    def unlabelled(cls, pixels: torch.Tensor | FloatArray, name: str, classes: tuple[str, ...] = ()) -> ImageSet:
        """Images of unknown classes."""
        return cls(pixels, np.full(len(pixels), -1, dtype=np.int32), classes, name)

    @property
    def pixels(self) -> torch.Tensor:
        """float32 (N, C, H, W): `array` as a tensor that shares its memory."""
        import torch  # slow to import, and not needed to read ledgers

        return torch.from_numpy(self.array)

    @property
    def labelled(self) -> bool:
        """Whether the class of every image is known."""
        return bool((self.labels >= 0).all())

    @property
    def n_classes(self) -> int:
        """The number of classes; 0 if they are not named."""
        return len(self.classes)

    @property
    def image_shape(self) -> ImageShape:
        """(C, H, W)."""
        _, channels, height, width = self.array.shape
        return channels, height, width

    def take(self, indices: Sequence[int] | NDArray[np.integer]) -> ImageSet:
        """The images at `indices`, in that order, copied; repeats are kept. Raises DataError outside [0, N)."""
        chosen = np.asarray(indices, dtype=np.int64)
        if chosen.ndim != 1 or len(chosen) == 0 or chosen.min() < 0 or chosen.max() >= len(self):
            raise DataError(f"{self.name}: take needs a list of one or more indices in [0, {len(self)})")
        return ImageSet(self.array[chosen], self.labels[chosen], self.classes, self.name)

    def part(self, start: int, stop: int) -> ImageSet:
        """The images from `start` to `stop` - 1, not copied. Raises DataError if there are none."""
        return ImageSet(self.array[start:stop], self.labels[start:stop], self.classes, self.name)

    def with_labels(self, labels: IntArray, n_classes: int) -> ImageSet:
        """The same images with these labels; classes without names are named by their numbers."""
        return ImageSet(self.array, labels, self.classes or tuple(map(str, range(n_classes))), self.name)

    def sha256(self) -> str:
        """A hash of the pixels, labels, class names and shape, not of the name: equal content gives equal hashes."""
        digest = hashlib.sha256(repr((self.array.shape, self.classes)).encode())
        digest.update(np.ascontiguousarray(self.array).data)  # not a copy, which may take hundreds of MB
        digest.update(self.labels.tobytes())
        return digest.hexdigest()


def _check_kind(pixels: torch.Tensor | FloatArray, name: str) -> None:
    if str(pixels.dtype) not in ("torch.float32", "float32") or pixels.ndim != 4:
        raise DataError(f"{name}: pixels are {pixels.dtype} {tuple(pixels.shape)}; need float32 (N, C, H, W)")


def _check_range(pixels: FloatArray, name: str) -> None:
    if pixels.size == 0:
        raise DataError(f"{name}: no images in {pixels.shape}; give at least one")
    low, high = float(pixels.min()), float(pixels.max())
    if not (low >= 0.0 and high <= 1.0):
        values = "NaN" if low != low or high != high else f"from {low:g} to {high:g}"
        raise DataError(f"{name}: pixels are {values}; they must lie in [0, 1]: divide 8-bit images by 255")


def _check_labels(labels: IntArray, images: int, n_classes: int, name: str) -> None:
    if labels.dtype != np.int32 or labels.shape != (images,):
        raise DataError(f"{name}: labels are {labels.dtype} {labels.shape}; need int32 ({images},), one per image")
    wrong = np.flatnonzero((labels < -1) | (labels >= n_classes))
    if len(wrong):
        row = int(wrong[0])
        allowed = f"the {n_classes} classes are 0..{n_classes - 1}" if n_classes else "no classes are named"
        raise DataError(f"{name}: the label in row {row} is {labels[row]}; {allowed}, and -1 stands for unknown")
