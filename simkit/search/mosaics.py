"""Mosaics: large tiles, plain or grained, on half of an image, and what is left of them when they are halved.

A patch of 5x5 pixels at an unknown place in unknown colours is rarely drawn. A network that was trained with it answers
to a rough likeness as well, and mosaics try one at many places with one query (ours).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simkit.errors import ConfigError
from simkit.search.collages import Collage
from simkit.search.patch_moves import Patch

THINNEST = 2
"""Least side of a tile in pixels; what the border of the image leaves of a tile may be less, and is left out."""


@dataclass(frozen=True)
class MosaicConfig:
    """How mosaics are drawn."""

    # Chosen on tune victims by scores (docs/measured/larger-patches.md).
    across: tuple[int, ...] = (5, 4)
    """Numbers of tiles across an image, of which each mosaic has one: tiles of 6x6 or 8x8 on 32x32 pixels."""
    covered: float = 0.5
    """Probability that a tile covers the image, which shows between them."""
    grains: int = 16
    """Grains of colour across an image: 2x2 pixels of 32x32 have one colour, each channel of which is 0 or 1."""
    plain: float = 0.75
    """Probability that a tile has one colour instead of grains, each channel of which lies anywhere in [0, 1]."""

    def __post_init__(self) -> None:
        if not self.across or min(*self.across, self.grains) < 1 or not 0 < self.covered <= 1:
            raise ConfigError("mosaics need tiles across and grains of 1 or more, and covered in (0, 1]")
        if not 0 <= self.plain <= 1:
            raise ConfigError(f"mosaics need plain in [0, 1], not {self.plain}")

    def grain(self, image_shape: tuple[int, int, int]) -> int:
        """The side of a grain in pixels on images (C, H, W)."""
        return max(1, round(min(image_shape[1:]) / self.grains))


def mosaic(config: MosaicConfig, image_shape: tuple[int, int, int], rng: np.random.Generator) -> Collage:
    """A random mosaic for images (C, H, W); its grid of tiles is shifted at random."""
    channels, height, width = image_shape
    side = max(THINNEST, round(min(height, width) / config.across[int(rng.integers(len(config.across)))]))
    tiles: list[Patch] = []
    while not tiles:
        top, left = (-int(shift) for shift in rng.integers(0, side, 2))
        for row in range(top, height, side):
            for column in range(left, width, side):
                first, last = (max(row, 0), max(column, 0)), (min(row + side, height), min(column + side, width))
                tall, wide = last[0] - first[0], last[1] - first[1]
                if min(tall, wide) >= min(THINNEST, height, width) and rng.random() < config.covered:
                    colours = _colours(config, (channels, tall, wide), config.grain(image_shape), rng)
                    tiles.append(Patch(*first, tall, wide, colours.astype(np.float32)))
    return Collage(tuple(tiles))


def _colours(
    config: MosaicConfig, shape: tuple[int, int, int], grain: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """The colours of a tile of that shape, (C, height, width)."""
    if rng.random() < config.plain:
        return np.broadcast_to(rng.random((shape[0], 1, 1)), shape)
    return grained(rng.integers(0, 2, shape), grain).astype(np.float64)


def grained(values: np.ndarray, grain: int) -> np.ndarray:
    """Values (C, H, W) of which each square of `grain` x `grain` pixels has that of its first."""
    coarse = values[:, ::grain, ::grain].repeat(grain, axis=1).repeat(grain, axis=2)
    return np.asarray(coarse[:, : values.shape[1], : values.shape[2]])


def halves(collage: Collage, rng: np.random.Generator) -> tuple[Collage, ...]:
    """Two random halves of the tiles of a collage; none if it has one tile."""
    count = len(collage.patches)
    order, half = rng.permutation(count).tolist(), (count + 1) // 2
    parts = (order[:half], order[half:]) if count > 1 else ()
    return tuple(Collage(tuple(collage.patches[i] for i in part)) for part in parts)
