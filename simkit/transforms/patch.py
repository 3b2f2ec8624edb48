"""Patches as a family of a race: collages of rectangles, whose trigger is a mask and a pattern."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from simkit.errors import ConfigError
from simkit.search.collages import Breeder, Breeding, Collage
from simkit.search.patch_moves import Patch
from simkit.transforms.contract import ImageShape
from simkit.triggers import Trigger
from simkit.verdict import SequentialTest


@dataclass(frozen=True)
class PatchFamily:
    """How a race of several families draws collages of patches, and what it demands of them.

    A large patch hides enough of an image to turn clean models too, so its test is as strict as that of waves.
    """

    name: str = "patch"
    """The name of the family."""
    largest_share: float = 9 / 256
    """The cap: largest share of the image's pixels that a trigger covers; 6x6 of 32x32 pixels."""
    parts: int = 2
    """Patches in a fresh candidate."""
    in_corner: float = 0.3
    """Probability that a fresh patch lies flush in a corner of the image (prototype)."""
    required_success: float = 0.88
    """See `Family`."""
    required_trials: int = 8
    """See `Family`."""
    screen: SequentialTest = field(default_factory=lambda: SequentialTest(0.97, 0.8, 0.02, 0.02))
    """See `Family`."""
    test: SequentialTest = field(default_factory=lambda: SequentialTest(0.98, 0.9, 0.02, 0.02))
    """See `Family`."""

    def __post_init__(self) -> None:
        if not 0 < self.largest_share <= 1 or not 0 <= self.in_corner <= 1 or self.parts < 1:
            raise ConfigError("patches need largest_share in (0, 1], in_corner in [0, 1], and parts >= 1")

    def from_json(self, fields: Mapping[str, Any]) -> Trigger:
        """See `Family`."""
        return Trigger.from_json(fields)

    def breeder(self, image_shape: ImageShape) -> CollageBreeder:
        """See `Family`."""
        area = max(1, int(self.largest_share * image_shape[1] * image_shape[2]))
        breeding = Breeding(self.parts, math.isqrt(area), part=0.95, tint_noise=0.5, pixel_noise=0.375)
        return CollageBreeder(Breeder(breeding, image_shape), area, self.in_corner)


@dataclass(frozen=True)
class CollageBreeder:
    """Draws and mutates collages; satisfies `simkit.transforms.breeding.Breeder`. area: the largest, in pixels."""

    collages: Breeder
    area: int
    in_corner: float

    def fresh(self, rng: np.random.Generator) -> Collage:
        """Random patches, some of them in corners."""
        drawn = self.collages.fresh(rng)
        return Collage(tuple(self._placed(patch, rng) for patch in drawn.patches))

    def child(self, parent: Collage, mates: Sequence[Collage], rng: np.random.Generator) -> Collage:
        """See `simkit.search.collages.Breeder.child`."""
        return self.collages.child(parent, mates, rng)

    def transform(self, candidate: Collage) -> Trigger:
        """The collage as mask and pattern."""
        return candidate.trigger(self.collages.image_shape)

    def share(self, candidate: Collage) -> float:
        """See `simkit.transforms.breeding.Breeder`: the area in multiples of the largest."""
        return candidate.area / self.area

    def _placed(self, patch: Patch, rng: np.random.Generator) -> Patch:
        if rng.random() >= self.in_corner:
            return patch
        _, height, width = self.collages.image_shape
        bottom, right = rng.random(2) < 0.5
        return replace(patch, top=height - patch.height if bottom else 0, left=width - patch.width if right else 0)
