"""Climbing: the colours of a few tiles along the slope of a class's margin, as estimated from pairs of answers.

The estimator is that of natural evolution strategies with antithetic samples, as in `simkit.search.estimators`. Each
pair is asked on one image, so that the image's own margin cancels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from simkit.errors import ConfigError
from simkit.search.collages import Collage
from simkit.search.mosaics import grained
from simkit.search.patch_moves import Patch

Colours: TypeAlias = NDArray[np.float64]
"""The colours of all tiles of a collage, flat."""


@dataclass(frozen=True)
class ClimbConfig:
    """How colours climb."""

    # Chosen on tune victims by scores (docs/measured/larger-patches.md).
    rungs: tuple[tuple[int, int], ...] = ((8, 8), (5, 12), (3, 20), (2, 20))
    """Of each rung, how many climb it, those with the highest margins, and the pairs of answers that each has."""
    sigma: float = 0.15
    """Standard deviation of the noise on colours in [0, 1]."""
    step: float = 0.4
    """Root mean square of the change of colours after a rung."""
    memory: float = 0.5
    """Weight of the former slope beside that of a new rung."""

    def __post_init__(self) -> None:
        if not self.rungs or min(map(min, self.rungs)) < 1 or min(self.sigma, self.step) <= 0 or self.memory < 0:
            raise ConfigError(
                "a climb needs rungs with counts of 1 or more, sigma and step above 0, memory of 0 or more"
            )


def noise(collage: Collage, grain: int, rng: np.random.Generator) -> Colours:
    """Normal noise on the colours of a collage, the same in each tile, in each grain, or in half of a grain's side."""
    sides = (max(max(patch.height, patch.width) for patch in collage.patches), grain, max(1, grain // 2))
    side = sides[int(rng.integers(len(sides)))] if grain > 1 else sides[2 * int(rng.integers(2))]
    drawn = (grained(rng.normal(size=patch.colours.shape), side) for patch in collage.patches)
    return np.concatenate([values.ravel() for values in drawn])


def moved(collage: Collage, by: Colours) -> Collage:
    """The collage with its colours changed by `by`, within [0, 1]."""
    ends = np.cumsum([patch.colours.size for patch in collage.patches])
    changes = zip(collage.patches, np.split(by, ends[:-1]), strict=True)
    return Collage(
        tuple(
            replace(
                patch, colours=np.clip(patch.colours + change.reshape(patch.colours.shape), 0, 1).astype(np.float32)
            )
            for patch, change in changes
        )
    )


def along(collage: Collage, slope: Colours, step: float) -> Collage:
    """The collage with its colours changed along the slope, by `step` in the root mean square."""
    return moved(collage, slope * (step / max(float(np.sqrt((slope**2).mean())), 1e-9)))


def widened(collage: Collage, by: int, most: int, image_shape: tuple[int, int, int]) -> Collage:
    """A collage of one tile with `by` pixels more on each side, as far as the sides stay within `most` and the image.

    The new pixels have the colours of their neighbours. Several tiles stay what they are.
    """
    if len(collage.patches) > 1:
        return collage
    tile, (_, height, width) = collage.patches[0], image_shape
    down, right = (by if side + 2 * by <= most else 0 for side in (tile.height, tile.width))
    top, left = max(0, tile.top - down), max(0, tile.left - right)
    below = min(height, tile.top + tile.height + down) - tile.top - tile.height
    beside = min(width, tile.left + tile.width + right) - tile.left - tile.width
    around = ((0, 0), (tile.top - top, below), (tile.left - left, beside))
    colours = np.pad(tile.colours, around, mode="edge")
    return Collage(
        (replace(tile, top=top, left=left, height=colours.shape[1], width=colours.shape[2], colours=colours),)
    )


def cropped(collage: Collage, slope: Colours, side: int) -> tuple[Collage, Colours]:
    """A collage of one tile, cut to `side` x `side` pixels where its slope is steepest, and the slope there.

    Several tiles, and a smaller one, stay what they are.
    """
    tile = collage.patches[0]
    tall, wide = min(side, tile.height), min(side, tile.width)
    if len(collage.patches) > 1 or (tall, wide) == (tile.height, tile.width):
        return collage, slope
    steep = slope.reshape(tile.colours.shape)
    windows = np.lib.stride_tricks.sliding_window_view((steep**2).sum(axis=0), (tall, wide))
    down, right = (int(i) for i in np.unravel_index(windows.sum(axis=(2, 3)).argmax(), windows.shape[:2]))
    part = np.s_[:, down : down + tall, right : right + wide]
    cut = replace(
        tile, top=tile.top + down, left=tile.left + right, height=tall, width=wide, colours=tile.colours[part]
    )
    return Collage((cut,)), steep[part].ravel()


def is_central(tile: Patch, image_shape: tuple[int, int, int], within: float) -> bool:
    """Whether the middle of a tile is as near to that of the image, (C, H, W), as `within` of its sides."""
    _, height, width = image_shape
    down = abs(tile.top + tile.height / 2 - height / 2) / height
    right = abs(tile.left + tile.width / 2 - width / 2) / width
    return max(down, right) <= within
