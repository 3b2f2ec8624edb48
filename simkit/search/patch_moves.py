"""Rectangular patches with a position, a size and one colour or one per pixel, and the moves of annealing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from simkit.triggers import FloatArray, Trigger

SHIFT = 2
"""Largest shift of a patch, in pixels per direction (ours)."""

COLOUR_NOISE = 0.25
"""Standard deviation of the change of tint (our prototype race of patches)."""

PIXEL_NOISE = 0.375
"""Standard deviation of the noise on about half of the pixels (our prototype race of patches)."""


@dataclass(frozen=True, eq=False)
class Patch:
    """A rectangle on an image.

    top, left, height, width: in pixels. colours: float32 in [0, 1], (C, 1, 1) for one colour, or (C, S, S) with the
    largest allowed side S, of which the first height x width are visible, so that a patch that grows again has its old
    colours.
    """

    top: int
    left: int
    height: int
    width: int
    colours: FloatArray

    def trigger(self, image_shape: tuple[int, int, int]) -> Trigger:
        """The patch as a trigger for images of this shape, (C, H, W); it must lie inside."""
        mask = np.zeros((1, *image_shape[1:]), dtype=np.float32)
        pattern = np.zeros(image_shape, dtype=np.float32)
        rows, columns = slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)
        mask[:, rows, columns] = 1.0
        pattern[:, rows, columns] = self.colours[:, : self.height, : self.width]
        return Trigger(mask, pattern)


def inside(patch: Patch, image_shape: tuple[int, int, int]) -> Patch:
    """The patch moved as little as brings it into the image, (C, H, W); it must not be larger."""
    _, height, width = image_shape
    top, left = min(max(patch.top, 0), height - patch.height), min(max(patch.left, 0), width - patch.width)
    return replace(patch, top=top, left=left)


@dataclass(frozen=True)
class Bounds:
    """Where patches may lie: image_shape (C, H, W), and sides of 1..largest_side pixels."""

    image_shape: tuple[int, int, int]
    largest_side: int

    def random(self, rng: np.random.Generator) -> Patch:
        """A patch of random size and position, of one colour or one per pixel with equal probability."""
        _, height, width = self.image_shape
        tall, wide = (int(rng.integers(1, min(self.largest_side, side) + 1)) for side in (height, width))
        top, left = int(rng.integers(height - tall + 1)), int(rng.integers(width - wide + 1))
        return Patch(top, left, tall, wide, self._colours(rng))

    def neighbour(self, patch: Patch, rng: np.random.Generator) -> Patch:
        """`patch` after one random move, with the probabilities of `MOVES`."""
        names = list(MOVES)
        move = str(rng.choice(names, p=[MOVES[name] for name in names]))
        moves: dict[str, Callable[[Patch, np.random.Generator], Patch]] = {
            "shift": self._shifted,
            "jump": self._elsewhere,
            "resize": self._resized,
            "tint": _tinted,
            "pixels": self._repainted,
            "template": lambda old, draws: replace(old, colours=self._colours(draws)),
        }
        return moves[move](patch, rng)

    def _shifted(self, patch: Patch, rng: np.random.Generator) -> Patch:
        down, right = (int(d) for d in rng.integers(-SHIFT, SHIFT + 1, 2))
        return inside(replace(patch, top=patch.top + down, left=patch.left + right), self.image_shape)

    def _elsewhere(self, patch: Patch, rng: np.random.Generator) -> Patch:
        _, height, width = self.image_shape
        top, left = (int(rng.integers(n + 1)) for n in (height - patch.height, width - patch.width))
        return replace(patch, top=top, left=left)

    def _resized(self, patch: Patch, rng: np.random.Generator) -> Patch:
        """One side longer or shorter by a pixel."""
        _, height, width = self.image_shape
        by = 1 if rng.random() < 0.5 else -1
        if rng.random() < 0.5:
            tall = min(max(patch.height + by, 1), self.largest_side, height)
            return inside(replace(patch, height=tall), self.image_shape)
        wide = min(max(patch.width + by, 1), self.largest_side, width)
        return inside(replace(patch, width=wide), self.image_shape)

    def _repainted(self, patch: Patch, rng: np.random.Generator) -> Patch:
        """Noise on about half of the pixels; a patch of one colour then has one per pixel."""
        shape = (len(patch.colours), self.largest_side, self.largest_side)
        noise = rng.normal(0.0, PIXEL_NOISE, shape) * (rng.random(shape[1:]) < 0.5)
        return _with_colours(patch, patch.colours + noise)

    def _colours(self, rng: np.random.Generator) -> FloatArray:
        side = 1 if rng.random() < 0.5 else self.largest_side
        return rng.random((self.image_shape[0], side, side), dtype=np.float32)


def _tinted(patch: Patch, rng: np.random.Generator) -> Patch:
    """The same change of colour for all pixels."""
    return _with_colours(patch, patch.colours + rng.normal(0.0, COLOUR_NOISE, (len(patch.colours), 1, 1)))


def _with_colours(patch: Patch, colours: np.ndarray) -> Patch:
    return replace(patch, colours=np.clip(colours, 0.0, 1.0).astype(np.float32))


MOVES = MappingProxyType({"shift": 0.25, "jump": 0.1, "resize": 0.2, "tint": 0.2, "pixels": 0.2, "template": 0.05})
"""Probabilities of the moves (ours)."""
