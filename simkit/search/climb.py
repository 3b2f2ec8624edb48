"""Climbing: the colours of a few tiles change along the slope of a class's margin, estimated from pairs of answers.

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
from simkit.search.places import PLACES

Colours: TypeAlias = NDArray[np.float64]
"""The colours of all tiles of a collage, flat."""


@dataclass(frozen=True)
class ClimbConfig:
    """How single tiles climb: first their places and sizes, then their colours."""

    # Chosen on tune victims by scores (docs/measured/larger-patches.md).
    places: tuple[tuple[int, int, int], ...] = ((8, 2, 2), (5, 1, 3))
    """How many of the best tiles are tried at other places, by how many pixels of 32x32, and the queries for each."""
    rungs: tuple[tuple[int, int], ...] = ((8, 8), (5, 12), (3, 20), (2, 20))
    """Of each rung, how many climb it, those with the highest margins, and the pairs of answers that each has."""
    sigma: float = 0.15
    """Standard deviation of the noise on colours in [0, 1]."""
    steps: tuple[float, ...] = (0.0, 0.15, 0.4)
    """Root mean squares of the change of colours along the slope of a rung, of which the best is taken."""
    compared: int = 3
    """Queries for each of these steps, and for each window to which a tile may be cut."""
    memory: float = 0.5
    """Weight of the former slope beside that of a new rung."""

    def __post_init__(self) -> None:
        counts = (self.compared, *(n for three in self.places for n in three), *(n for two in self.rungs for n in two))
        if not self.rungs or min(counts) < 1 or self.sigma <= 0 or self.memory < 0:
            raise ConfigError("a climb needs rungs, counts of 1 or more, sigma above 0, and memory of 0 or more")
        if not self.steps or min(self.steps) < 0:
            raise ConfigError("a climb needs a step or more, each of 0 or more")

    @property
    def first_queries(self) -> int:
        """The queries of all places and of the first rung, with as many tiles as they take."""
        tiles, pairs = self.rungs[0]
        placed = sum(count * PLACES * images for count, _, images in self.places)
        return placed + tiles * (2 * pairs + (len(self.steps) * self.compared if len(self.steps) > 1 else 0))


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


def is_central(tile: Patch, image_shape: tuple[int, int, int], within: float) -> bool:
    """Whether the middle of a tile is as near to that of the image, (C, H, W), as `within` of its sides."""
    _, height, width = image_shape
    down = abs(tile.top + tile.height / 2 - height / 2) / height
    right = abs(tile.left + tile.width / 2 - width / 2) / width
    return max(down, right) <= within
