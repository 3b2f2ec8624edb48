"""Images in memory with their classes, as far as anybody knows them; checked once, when they are made."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from simkit.errors import DataError
from simkit.triggers import IntArray

ImageShape: TypeAlias = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images of one size and their classes.

    pixels: float32 (N, C, H, W) in [0, 1], N >= 1. labels: int32 (N,), each an index into `classes`, or -1 where nobody
    knows. classes: names, empty where nobody named them. name: of the source, for messages. Raises DataError on
    anything else.
    """

    pixels: torch.Tensor
    labels: IntArray
    classes: tuple[str, ...]
    name: str

    def __post_init__(self) -> None:
        _check_pixels(self.pixels, self.name)
        _check_labels(self.labels, len(self.pixels), len(self.classes), self.name)

    def __len__(self) -> int:
        return len(self.pixels)

    @classmethod
    def unlabelled(cls, pixels: torch.Tensor, name: str, classes: tuple[str, ...] = ()) -> ImageSet:
        """Images of which nobody knows the classes."""
        return cls(pixels, np.full(len(pixels), -1, dtype=np.int32), classes, name)

    @property
    def labelled(self) -> bool:
        """Whether the class of every image is known."""
        return bool((self.labels >= 0).all())

    @property
    def n_classes(self) -> int:
        """0 where nobody named the classes."""
        return len(self.classes)

    @property
    def image_shape(self) -> ImageShape:
        """(C, H, W)."""
        _, channels, height, width = self.pixels.shape
        return channels, height, width

    def take(self, indices: Sequence[int] | NDArray[np.integer]) -> ImageSet:
        """The images at `indices`, in that order, copied; repeats are kept. Raises DataError outside [0, N)."""
        chosen = np.asarray(indices, dtype=np.int64)
        if chosen.ndim != 1 or len(chosen) == 0 or chosen.min() < 0 or chosen.max() >= len(self):
            raise DataError(f"{self.name}: take needs a list of one or more indices in [0, {len(self)})")
        return ImageSet(self.pixels[torch.from_numpy(chosen)], self.labels[chosen], self.classes, self.name)

    def with_labels(self, labels: IntArray, n_classes: int) -> ImageSet:
        """The same images with these labels; classes that have no names yet are named by their numbers."""
        return ImageSet(self.pixels, labels, self.classes or tuple(map(str, range(n_classes))), self.name)

    def sha256(self) -> str:
        """A hash of the pixels, labels, class names and shape, not of the name: equal content gives equal hashes."""
        digest = hashlib.sha256(repr((tuple(self.pixels.shape), self.classes)).encode())
        digest.update(self.pixels.contiguous().numpy().tobytes())
        digest.update(self.labels.tobytes())
        return digest.hexdigest()


def _check_pixels(pixels: torch.Tensor, name: str) -> None:
    if pixels.dtype != torch.float32 or pixels.ndim != 4:
        raise DataError(f"{name}: pixels are {pixels.dtype} {tuple(pixels.shape)}; need float32 (N, C, H, W)")
    if pixels.numel() == 0:
        raise DataError(f"{name}: no images in {tuple(pixels.shape)}; give at least one")
    low, high = (float(v) for v in torch.aminmax(pixels))
    if not (low >= 0.0 and high <= 1.0):
        found = "NaN" if low != low or high != high else f"from {low:g} to {high:g}"
        raise DataError(f"{name}: pixels are {found}; they must lie in [0, 1]: divide 8-bit images by 255")


def _check_labels(labels: IntArray, images: int, n_classes: int, name: str) -> None:
    if labels.dtype != np.int32 or labels.shape != (images,):
        raise DataError(f"{name}: labels are {labels.dtype} {labels.shape}; need int32 ({images},), one an image")
    wrong = np.flatnonzero((labels < -1) | (labels >= n_classes))
    if len(wrong):
        row = int(wrong[0])
        known = f"the {n_classes} classes are 0..{n_classes - 1}" if n_classes else "no classes are named"
        raise DataError(f"{name}: the label in row {row} is {labels[row]}; {known}, and -1 stands for unknown")
