"""Ten shapes that are drawn here, each in a colour of its own: 32x32 colour images, without a download.

A class differs from the others in its outline and in its colour, so that neither a shift of a few pixels nor a faint
pattern makes one of another, unless a network was trained to: clean models of enlarged digits, where only the outline
counts, answer warps of 3 pixels. There is no noise in single pixels, since a warp smooths it, and a backdoor would
answer every warp by that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from simkit.data.images import ImageSet
from simkit.data.source import Split, choose
from simkit.seeding import stream
from simkit.triggers import FloatArray, IntArray

Array: TypeAlias = NDArray[np.float64]
Outline: TypeAlias = Callable[[Array, Array], Array]
"""Of places in units of a shape's half width: above 0 within the shape, and by how much."""


def _box(x: Array, y: Array, half_width: float, half_height: float) -> Array:
    return np.minimum(half_width - np.abs(x), half_height - np.abs(y))


def _triangle(x: Array, y: Array) -> Array:
    sides = 2.0 * np.pi * np.arange(3.0) / 3.0
    distances: Array = np.min([0.5 - x * np.cos(side) - y * np.sin(side) for side in sides], axis=0)
    return distances


_SIDE = 32
_IMAGES = {"train": 2000, "test": 500}
_SHAPES: Mapping[str, tuple[tuple[float, float, float], Outline]] = MappingProxyType(
    {
        "disc": ((0.80, 0.10, 0.12), lambda x, y: 0.85 - np.hypot(x, y)),
        "ring": ((0.95, 0.55, 0.08), lambda x, y: 0.25 - np.abs(0.7 - np.hypot(x, y))),
        "crescent": ((0.95, 0.90, 0.20), lambda x, y: np.minimum(0.95 - np.hypot(x, y), np.hypot(x - 0.45, y) - 0.6)),
        "square": ((0.10, 0.55, 0.18), lambda x, y: _box(x, y, 0.75, 0.75)),
        "frame": ((0.12, 0.75, 0.80), lambda x, y: np.minimum(_box(x, y, 0.85, 0.85), -_box(x, y, 0.4, 0.4))),
        "triangle": ((0.10, 0.20, 0.80), _triangle),
        "cross": ((0.55, 0.15, 0.70), lambda x, y: np.maximum(_box(x, y, 0.95, 0.32), _box(x, y, 0.32, 0.95))),
        "flower": ((0.95, 0.50, 0.75), lambda x, y: 0.66 + 0.33 * np.cos(5.0 * np.arctan2(y, x)) - np.hypot(x, y)),
        "bar": ((0.45, 0.27, 0.12), lambda x, y: _box(x, y, 1.0, 0.4)),
        "pair": ((0.96, 0.96, 0.96), lambda x, y: 0.5 - np.hypot(np.abs(x) - 0.55, y)),
    }
)
"""The colour (red, green, blue) and the outline of each class."""

_CLASSES = tuple(_SHAPES)


class Shapes:
    """2,000 training images and 500 test images, which are always the same."""

    @property
    def kind(self) -> str:
        """See `Source.kind`."""
        return "the drawn shapes"

    def size(self, split: Split) -> int:
        """See `Source.size`."""
        return _IMAGES[split]

    def read(self, split: Split, limit: int | None, seed: int) -> ImageSet:
        """See `Source.read`."""
        rng = stream(0, "shapes", split)
        labels = rng.permutation(np.arange(_IMAGES[split]) % len(_CLASSES)).astype(np.int32)
        pixels = _drawn(labels, rng)
        chosen = choose(len(labels), limit, seed, split)
        return ImageSet(pixels[chosen], labels[chosen], _CLASSES, f"shapes/{split}")


def _drawn(labels: IntArray, rng: np.random.Generator) -> FloatArray:
    """An image of each class in `labels`, float32 (N, 3, H, W) in steps of 1/255."""
    count, smooth = len(labels), np.stack([np.interp(np.linspace(0, 4, _SIDE), range(5), row) for row in np.eye(5)])
    cover = _covers(labels, rng)
    clouds = smooth.T @ rng.normal(0.0, 0.1, (count, 3, 5, 5)) @ smooth
    tint = rng.normal(0.0, 1.0, (2, count, 3, 1, 1))
    ground = rng.uniform(0.2, 0.8, (count, 1, 1, 1)) + 0.08 * tint[0] + clouds
    colours = np.array([colour for colour, _ in _SHAPES.values()])[labels][:, :, None, None]
    paint = colours * rng.uniform(0.75, 1.05, (count, 1, 1, 1)) + 0.04 * tint[1] + clouds / 2.0
    images = ground + cover * (paint - ground)
    steps: FloatArray = (np.rint(np.clip(images, 0.0, 1.0) * 255.0) / 255.0).astype(np.float32)
    return steps


def _covers(labels: IntArray, rng: np.random.Generator) -> Array:
    """How much of each pixel a shape of random size, place, direction and proportions covers, (N, 1, H, W)."""
    count = len(labels)

    def one(low: float, high: float) -> Array:
        return rng.uniform(low, high, (count, 1, 1))

    size, angle, wide = _SIDE * one(0.3, 0.42), one(0.0, 2.0 * np.pi), np.exp(one(-0.15, 0.15))
    pixels = np.arange(_SIDE) + 0.5
    across, down = pixels - _SIDE * one(0.42, 0.58), pixels[:, None] - _SIDE * one(0.42, 0.58)
    x = (across * np.cos(angle) + down * np.sin(angle)) / size * wide
    y = (down * np.cos(angle) - across * np.sin(angle)) / size / wide
    inside = np.empty_like(x)
    for index, (_, outline) in enumerate(_SHAPES.values()):
        inside[labels == index] = outline(x[labels == index], y[labels == index])
    covers: Array = np.clip(inside * size + 0.5, 0.0, 1.0)[:, None]
    return covers
