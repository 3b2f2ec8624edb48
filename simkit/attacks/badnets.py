"""BadNets: a patch on a share of the training images, relabelled as the target class (Gu et al., 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from simkit.data.images import ImageSet, ImageShape
from simkit.errors import ConfigError, DataError
from simkit.seeding import stream
from simkit.triggers import FloatArray, IntArray, Trigger, stamp

PatchKind: TypeAlias = Literal["solid", "multi"]


def patch_trigger(image_shape: ImageShape, row: int, col: int, colours: FloatArray) -> Trigger:
    """A rectangle with its top left pixel at (row, col).

    image_shape: (C, H, W). colours: float32 (C, h, w) in [0, 1], one a pixel of the patch. The mask is 0 or 1; the
    pattern is 0 outside the patch. Raises ConfigError if the patch does not fit the image.
    """
    channels, height, width = image_shape
    if colours.dtype != np.float32 or colours.ndim != 3 or len(colours) != channels:
        raise ConfigError(f"patch colours are {colours.dtype} {colours.shape}; need float32 ({channels}, h, w)")
    if not (colours.size and colours.min() >= 0.0 and colours.max() <= 1.0):
        raise ConfigError("patch colours must be one pixel or more, with values in [0, 1]")
    bottom, right = row + colours.shape[1], col + colours.shape[2]
    if row < 0 or col < 0 or bottom > height or right > width:
        patch = f"{colours.shape[1]}x{colours.shape[2]} patch at row {row}, column {col}"
        raise ConfigError(f"a {patch} leaves the {height}x{width} image; make it smaller or move it")
    mask = np.zeros((1, height, width), np.float32)
    pattern = np.zeros(image_shape, np.float32)
    mask[:, row:bottom, col:right] = 1.0
    pattern[:, row:bottom, col:right] = colours
    return Trigger(mask, pattern)


def random_patch(
    image_shape: ImageShape, height: int, width: int, kind: PatchKind, rng: np.random.Generator
) -> Trigger:
    """A patch at a uniformly drawn place, in colours drawn uniformly from the 256 steps of 8-bit images.

    height, width: pixels. kind: `solid` draws one colour for the patch, `multi` one for each pixel.
    Raises ConfigError if it does not fit.
    """
    if not (1 <= height <= image_shape[1] and 1 <= width <= image_shape[2]):
        raise ConfigError(f"a {height}x{width} patch does not fit a {image_shape[1]}x{image_shape[2]} image")
    row = int(rng.integers(image_shape[1] - height + 1))
    col = int(rng.integers(image_shape[2] - width + 1))
    drawn = (image_shape[0], 1, 1) if kind == "solid" else (image_shape[0], height, width)
    steps = np.broadcast_to(rng.integers(256, size=drawn), (image_shape[0], height, width))
    return patch_trigger(image_shape, row, col, (steps / 255.0).astype(np.float32))


@dataclass(frozen=True, eq=False)
class BadNets:
    """Stamp `trigger` on a share of the images and call them `target_class`. Satisfies `Attack`.

    rate: in (0, 1], the share of the images that are not of the target class. Raises ConfigError outside the ranges.
    """

    trigger: Trigger
    target_class: int
    rate: float = 0.1

    def __post_init__(self) -> None:
        if self.target_class < 0 or not 0.0 < self.rate <= 1.0:
            raise ConfigError(
                f"target class {self.target_class}, rate {self.rate}; need a class id of 0 or more and a rate in (0, 1]"
            )

    def poison(self, images: ImageSet, seed: int) -> ImageSet:
        """A copy of `images` with the chosen ones stamped and relabelled; at least one is.

        Raises DataError if the images are of another shape, do not have the target class, or are all of that class.
        """
        chosen = self._choose(images, seed)
        pixels, labels = images.pixels.clone(), images.labels.copy()
        pixels[chosen] = self.stamp_all(pixels[chosen])
        labels[chosen] = self.target_class
        return ImageSet(pixels, labels, images.classes, images.name)

    def triggered(self, images: ImageSet) -> ImageSet:
        """See `Attack.triggered`: every image that is not of the target class, stamped and relabelled."""
        others = images.take(self._others(images))
        labels = np.full_like(others.labels, self.target_class)
        return ImageSet(self.stamp_all(others.pixels), labels, images.classes, images.name)

    def stamp_all(self, pixels: torch.Tensor) -> torch.Tensor:
        """The trigger on every image, float32 (N, C, H, W), as a copy."""
        mask, pattern = torch.from_numpy(self.trigger.mask), torch.from_numpy(self.trigger.pattern)
        return stamp(pixels, mask[None], pattern[None])

    def _choose(self, images: ImageSet, seed: int) -> IntArray:
        others = self._others(images)
        number = max(1, round(self.rate * len(others)))
        return stream(seed, "badnets", "poison").choice(others, number, replace=False).astype(np.int32)

    def _others(self, images: ImageSet) -> NDArray[np.intp]:
        if images.image_shape != self.trigger.pattern.shape or self.target_class >= images.n_classes:
            raise DataError(
                f"{images.name}: images {images.image_shape} of {images.n_classes} classes do not fit a "
                f"{self.trigger.pattern.shape} trigger for class {self.target_class}"
            )
        others = np.flatnonzero(images.labels != self.target_class)
        if len(others) == 0:
            raise DataError(f"{images.name}: every image is of the target class {self.target_class}; none to attack")
        return others
