"""The protocol of a source of images, and the choice among its images."""

from __future__ import annotations

import math
import os
from typing import Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from simkit.data.images import ImageSet, ImageShape
from simkit.data.stratified import stratified_split
from simkit.errors import DataError
from simkit.seeding import stream

Split: TypeAlias = Literal["train", "test"]
IndexArray: TypeAlias = NDArray[np.int64]

_TEST_SHARE = 0.25


class Source(Protocol):
    """A source of images. Every failure is a DataError with one line: file, column or array, row."""

    @property
    def kind(self) -> str:
        """The kind of source, in words."""
        ...

    def read(self, split: Split, limit: int | None, seed: int) -> ImageSet:
        """The split, or a seeded choice of `limit` of its images, see `choose`."""
        ...

    def size(self, split: Split) -> int:
        """The number of images in the split, determined without decoding any."""
        ...


def choose(images: int, limit: int | None, seed: int, split: Split) -> IndexArray:
    """Which of `images` to read, int64: all in order, or the first `limit` of a seeded shuffle.

    A smaller limit gives a prefix of a larger one. A limit above the number of images gives them all, shuffled.
    Raises DataError for a limit below 1.
    """
    if limit is None:
        return np.arange(images, dtype=np.int64)
    if limit < 1:
        raise DataError(f"a limit of {limit} images; give 1 or more, or None for all of them")
    return stream(seed, "data", split).permutation(images).astype(np.int64)[:limit]


def empty_pixels(images: int, shape: ImageShape, name: str) -> NDArray[np.uint8]:
    """An empty array for images of `shape` (C, H, W). Raises DataError if they, as float32, exceed the memory."""
    needed = 4 * images * math.prod(shape)
    if needed > os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"):
        raise DataError(
            f"{name}: {images} images of {shape[1]}x{shape[2]} take {needed / 2**30:.0f} GiB; give fewer, or bring "
            "them to the model's size with image_size"
        )
    return np.empty((images, *shape), np.uint8)


def quarter_split(labels: NDArray[np.integer], name: str) -> dict[Split, IndexArray]:
    """`fixed_split` with a quarter of the images for testing, but at least one per class."""
    return fixed_split(labels, max(round(_TEST_SHARE * len(labels)), len(np.unique(labels))), name)


def fixed_split(labels: NDArray[np.integer], test_images: int, name: str) -> dict[Split, IndexArray]:
    """A fixed stratified split: int64 indices by split, about `test_images` of them for testing.

    Raises DataError if a class is too small to be in both parts.
    """
    try:
        train, test = stratified_split(labels, test_images)
    except ValueError as error:
        hint = "give each class two images or more, or store the two splits apart"
        raise DataError(f"{name}: cannot split {len(labels)} images into train and test ({error}); {hint}") from error
    return {"train": train, "test": test}
