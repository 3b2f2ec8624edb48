"""Warps: every pixel is taken from a shifted place, along a smooth field that is the same for all images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from simkit.errors import ConfigError
from simkit.transforms.breeding import some_strength
from simkit.transforms.contract import ImageShape, check_images, described
from simkit.transforms.grids import MOST_POINTS, bicubic, interpolated
from simkit.transforms.stored import image_shape_of, number
from simkit.triggers import FloatArray
from simkit.verdict import SequentialTest

_VECTOR_POINTS = 4

_MOST_PRODUCTS = 1 << 30
"""Most products of the points and the pixels of a stored field, which takes seconds: 64x64 points on 512x512 pixels."""


@dataclass(frozen=True, eq=False)
class Warp:
    """A trigger that warps the image; satisfies `Transform`.

    shifts: float64 (k, k, 2), the shift in pixels across and down at k x k points from corner to corner. In between it
    is interpolated bicubically; positions outside the image use its edge.
    """

    image_shape: ImageShape
    shifts: NDArray[np.float64]

    family: ClassVar[str] = "warp"
    unit: ClassVar[str] = "pixels of shift"

    @property
    def mask_size(self) -> float:
        """See `Transform`: all pixels."""
        return float(self.image_shape[1] * self.image_shape[2])

    @property
    def strength(self) -> float:
        """The mean length of the shift of a pixel, in pixels."""
        return float(np.hypot(self.field[..., 0], self.field[..., 1]).mean())

    @property
    def words(self) -> str:
        """See `Transform`; with the points of its grid."""
        return described(self, f"{len(self.shifts)}x{len(self.shifts)} points")

    @cached_property
    def field(self) -> NDArray[np.float64]:
        """The shift of every pixel, float64 (H, W, 2)."""
        _, height, width = self.image_shape
        points = len(self.shifts)
        return interpolated(bicubic(points, height), self.shifts, bicubic(points, width))

    @cached_property
    def _corners(self) -> tuple[tuple[NDArray[np.intp], NDArray[np.float32]], ...]:
        """The four neighbours of every pixel's source as flat positions, and their weights, each (H * W,)."""
        _, height, width = self.image_shape
        x = np.clip(np.arange(width) + self.field[..., 0], 0, width - 1)
        y = np.clip(np.arange(height)[:, None] + self.field[..., 1], 0, height - 1)
        left, top = np.floor(x).astype(np.intp), np.floor(y).astype(np.intp)
        right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
        along, below = x - left, y - top
        before, above, upper, lower = 1 - along, 1 - below, top * width, bottom * width
        corners = (
            (upper + left, above * before),
            (upper + right, above * along),
            (lower + left, below * before),
            (lower + right, below * along),
        )
        return tuple((places.ravel(), weights.astype(np.float32).ravel()) for places, weights in corners)

    @property
    def as_patch(self) -> None:
        """See `Transform`: it has no mask."""

    @property
    def arrows(self) -> NDArray[np.float64]:
        """See `Transform`: against the field, since a pixel is taken from where the field points."""
        return -self.field

    def on(self, images: FloatArray) -> FloatArray:
        """See `Transform`."""
        check_images(images, self.image_shape)
        flat = images.reshape(*images.shape[:2], -1)
        bent = np.zeros_like(flat)
        for places, weights in self._corners:
            part = np.take(flat, places, axis=2)  # a third of the time of an index in brackets
            bent += np.multiply(part, weights, out=part)
        return np.clip(bent, np.float32(0.0), np.float32(1.0)).reshape(images.shape)

    def copied(self) -> Warp:
        """See `Transform`."""
        return Warp(self.image_shape, self.shifts.copy())

    def to_json(self) -> dict[str, Any]:
        """See `Transform`."""
        return {"family": self.family, "image_shape": [*self.image_shape], "shifts": self.shifts.tolist()}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Warp:
        """The trigger that `to_json` wrote. Raises KeyError, TypeError or ValueError where it is none."""
        shape, rows = image_shape_of(fields), fields["shifts"]
        points = len(rows)
        if not 2 <= points <= MOST_POINTS or any(len(row) != points for row in rows):
            raise ValueError(f"shifts need 2 to {MOST_POINTS} rows, and as many columns")
        if points**2 * shape[1] * shape[2] > _MOST_PRODUCTS:
            raise ValueError(f"{points}x{points} shifts are too many for images of {shape[1]}x{shape[2]}")
        shifts = np.array([[[number(value) for value in point] for point in row] for row in rows])
        if shifts.shape != (points, points, 2):
            raise ValueError(f"shifts are {shifts.shape}; need ({points}, {points}, 2)")
        return cls(shape, shifts)


@lru_cache(maxsize=64)
def vector_points(side: int) -> NDArray[np.intp]:
    """Where on a side of so many pixels a warp is read as a vector, (_VECTOR_POINTS,), which cannot be written to."""
    points = np.linspace(0, side - 1, _VECTOR_POINTS).round().astype(np.intp)
    points.flags.writeable = False
    return points


@dataclass(frozen=True)
class WarpFamily:
    """How a race draws warps, and what it demands of them (prototype)."""

    name: str = "warp"
    """The name of the family."""
    largest_shift: float = 3 / 32
    """The cap: largest mean shift of a pixel, as a share of the image's side."""
    grids: tuple[int, int] = (2, 6)
    """Least and most points per side of the grid on which a field is drawn."""
    required_success: float = 0.7
    """See `Family`."""
    required_trials: int = 8
    """See `Family`."""
    screen: SequentialTest = field(default_factory=lambda: SequentialTest(0.9, 0.65, 0.05, 0.05))
    """See `Family`."""
    test: SequentialTest = field(default_factory=lambda: SequentialTest(0.9, 0.75, 0.01, 0.01))
    """See `Family`."""

    def __post_init__(self) -> None:
        if not 0 < self.largest_shift < 1 or not 2 <= self.grids[0] <= self.grids[1] <= MOST_POINTS:
            raise ConfigError(f"warps need largest_shift in (0, 1), and grids of 2 to {MOST_POINTS} points")

    def from_json(self, fields: Mapping[str, Any]) -> Warp:
        """See `Family`."""
        return Warp.from_json(fields)

    def breeder(self, image_shape: ImageShape) -> WarpBreeder:
        """See `Family`."""
        return WarpBreeder(self, image_shape)


@dataclass(frozen=True)
class WarpBreeder:
    """Draws and mutates warping fields for images of one shape; satisfies `Breeder`."""

    config: WarpFamily
    image_shape: ImageShape

    @property
    def _most(self) -> float:
        return self.config.largest_shift * min(self.image_shape[1:])

    def fresh(self, rng: np.random.Generator) -> Warp:
        """A random field of the largest strength."""
        points = int(rng.integers(self.config.grids[0], self.config.grids[1], endpoint=True))
        return self._scaled(rng.uniform(-1.0, 1.0, (points, points, 2)), 1.0)

    def child(self, parent: Warp, mates: Sequence[Warp], rng: np.random.Generator) -> Warp:
        """The mean with a mate of the same grid, or the parent with noise on all or on a quarter of the points."""
        shifts = parent.shifts
        like = [mate.shifts for mate in mates if mate.shifts.shape == shifts.shape]
        if like and rng.random() < 0.3:
            new = (shifts + like[int(rng.integers(len(like)))]) / 2.0
        else:
            spread, few = float(shifts.std()), rng.random() < 0.5
            noise = rng.normal(0.0, (0.8 if few else 0.35) * spread, shifts.shape)
            new = shifts + noise * (rng.random((*shifts.shape[:2], 1)) < (0.25 if few else 1.0))
        return self._scaled(new, some_strength(rng))

    def transform(self, candidate: Warp) -> Warp:
        """See `Breeder`."""
        return candidate

    def share(self, candidate: Warp) -> float:
        """See `Breeder`: the strength in multiples of the largest mean shift."""
        return candidate.strength / self._most

    def vector(self, candidate: Warp) -> NDArray[np.float64]:
        """See `Vectored`: the shifts at 4 x 4 points in multiples of the largest mean shift."""
        rows, columns = (vector_points(side) for side in self.image_shape[1:])
        points: NDArray[np.float64] = candidate.field[rows[:, None], columns] / self._most
        return points.ravel()

    def along(self, vector: NDArray[np.float64], rng: np.random.Generator) -> Warp:
        """See `Vectored`: a field of the largest strength."""
        return self._scaled(vector.reshape(_VECTOR_POINTS, _VECTOR_POINTS, 2), some_strength(rng))

    def _scaled(self, shifts: NDArray[np.float64], share: float) -> Warp:
        now = max(Warp(self.image_shape, shifts).strength, 1e-9)
        return Warp(self.image_shape, shifts * (share * self._most / now))
