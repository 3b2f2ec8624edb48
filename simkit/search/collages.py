"""Collages: several small patches on one image, and how the race draws, mutates and halves them.

One query with a collage tests all its patches at once. If any of them resembles the trigger, the margin of the target
class rises; halving a promising collage shows which patch it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from simkit.search.patch_moves import Patch, inside
from simkit.search.patches import patch_colours
from simkit.triggers import FloatArray, Trigger

OBLONG = 0.2
"""Probability that the width of a fresh patch is drawn independently of its height (ours)."""

RESIZE, SHIFT = 0.2, 0.3
"""Probabilities that a mutated patch grows or shrinks by a pixel, and that it moves by one (prototype)."""

RECOLOUR = (0.35, 0.25, 0.2, 0.2)
"""Probabilities of the colour mutations: a change of tint, noise on half of the pixels, half of the pixels from another
parent, and two new pixels, which also replaces the third if there is no other parent (prototype)."""

ALONGSIDE = 0.3
"""Probability that another patch of a collage is mutated together with the chosen one (ours)."""


@dataclass(frozen=True, eq=False)
class Collage:
    """Patches that are stamped together, later over earlier ones; their colours are float32 (C, height, width)."""

    patches: tuple[Patch, ...]

    @cached_property
    def area(self) -> int:
        """The sum of the patches' areas, in pixels; overlaps count twice."""
        return sum(patch.height * patch.width for patch in self.patches)

    def trigger(self, image_shape: tuple[int, int, int]) -> Trigger:
        """The collage as one trigger for images of this shape, (C, H, W)."""
        mask = np.zeros((1, *image_shape[1:]), dtype=np.float32)
        pattern = np.zeros(image_shape, dtype=np.float32)
        for patch in self.patches:
            rows = slice(patch.top, patch.top + patch.height)
            columns = slice(patch.left, patch.left + patch.width)
            mask[:, rows, columns], pattern[:, rows, columns] = 1.0, patch.colours
        return Trigger(mask, pattern)


@dataclass(frozen=True)
class Breeding:
    """How collages are drawn and mutated.

    patches: number of patches in a fresh collage. largest_side: largest side of a patch, in pixels. part: probability
    that the child of a collage with several patches is a random half of it. tint_noise, pixel_noise: standard
    deviations of the noise that mutation adds to colours in [0, 1].
    """

    patches: int
    largest_side: int
    part: float
    tint_noise: float
    pixel_noise: float


@dataclass(frozen=True)
class Breeder:
    """Draws collages for images of one shape, (C, H, W)."""

    breeding: Breeding
    image_shape: tuple[int, int, int]

    def fresh(self, rng: np.random.Generator) -> Collage:
        """Random patches at random places."""
        return Collage(tuple(self._patch(rng) for _ in range(self.breeding.patches)))

    def child(self, parent: Collage, mates: Sequence[Collage], rng: np.random.Generator) -> Collage:
        """A random half of the parent's patches, or all of them with one or more mutated.

        mates: other parents for the same class, whose colours may be copied.
        """
        count = len(parent.patches)
        if count > 1 and rng.random() < self.breeding.part:
            kept = rng.permutation(count)[: (count + 1) // 2]
            return Collage(tuple(parent.patches[i] for i in kept))
        mate = self._any_patch(mates, rng)
        chosen = int(rng.integers(count))
        changed = (i == chosen or rng.random() < ALONGSIDE for i in range(count))
        pairs = zip(parent.patches, changed, strict=True)
        return Collage(tuple(self._mutant(patch, mate, rng) if change else patch for patch, change in pairs))

    @staticmethod
    def _any_patch(mates: Sequence[Collage], rng: np.random.Generator) -> Patch | None:
        if not mates:
            return None
        mate = mates[int(rng.integers(len(mates)))]
        return mate.patches[int(rng.integers(len(mate.patches)))]

    def _sides(self, rng: np.random.Generator) -> tuple[int, int]:
        _, height, width = self.image_shape
        tall = wide = int(rng.integers(1, self.breeding.largest_side + 1))
        if rng.random() < OBLONG:
            wide = int(rng.integers(1, self.breeding.largest_side + 1))
        return min(tall, height), min(wide, width)

    def _patch(self, rng: np.random.Generator) -> Patch:
        channels, height, width = self.image_shape
        tall, wide = self._sides(rng)
        top, left = int(rng.integers(height - tall + 1)), int(rng.integers(width - wide + 1))
        colours = np.broadcast_to(patch_colours(rng, channels, tall, wide), (channels, tall, wide))
        return Patch(top, left, tall, wide, colours.astype(np.float32))

    def _mutant(self, patch: Patch, mate: Patch | None, rng: np.random.Generator) -> Patch:
        if rng.random() < RESIZE:
            patch = self._resized(patch, rng)
        shift = rng.integers(-1, 2, size=2) if rng.random() < SHIFT else (0, 0)
        down, right = map(int, shift)
        moved = inside(replace(patch, top=patch.top + down, left=patch.left + right), self.image_shape)
        return replace(moved, colours=self._recoloured(patch, mate, rng))

    def _resized(self, patch: Patch, rng: np.random.Generator) -> Patch:
        """One pixel more or less per side, mostly on both sides, so that squares stay squares."""
        _, height, width = self.image_shape
        by, most = (1 if rng.random() < 0.5 else -1), self.breeding.largest_side
        tall = patch.height if rng.random() < OBLONG else min(max(patch.height + by, 1), most, height)
        wide = min(max(patch.width + by, 1), most, width)
        return replace(patch, height=tall, width=wide, colours=_tiled(patch.colours, tall, wide))

    def _recoloured(self, patch: Patch, mate: Patch | None, rng: np.random.Generator) -> FloatArray:
        old, (channels, tall, wide) = patch.colours.astype(np.float64), patch.colours.shape
        match int(rng.choice(len(RECOLOUR), p=RECOLOUR)):
            case 0:
                new = old + rng.normal(0.0, self.breeding.tint_noise, (channels, 1, 1))
            case 1:
                new = old + rng.normal(0.0, self.breeding.pixel_noise, old.shape) * (rng.random((1, tall, wide)) < 0.5)
            case 2 if mate is not None:
                new = np.where(rng.random((1, tall, wide)) < 0.5, _tiled(mate.colours, tall, wide), old)
            case _:
                new = np.where(rng.random((1, tall, wide)) < 2 / (tall * wide), rng.random(old.shape), old)
        return np.clip(new, 0.0, 1.0).astype(np.float32)


def _tiled(colours: FloatArray, tall: int, wide: int) -> FloatArray:
    """Colours (C, h, w) cropped or repeated to (C, tall, wide)."""
    _, height, width = colours.shape
    tiled: FloatArray = colours[:, np.arange(tall) % height][:, :, np.arange(wide) % width]
    return tiled
