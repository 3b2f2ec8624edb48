"""Pictures: smooth pictures of a few points that are blended into the whole image, x' = (1 - alpha) x + alpha p.

A natural picture that a network was trained with (blended injection: Chen et al., 2017, as BackdoorBench's code has it)
answers to its own coarse outline, which few numbers hold.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from simkit.errors import ConfigError
from simkit.transforms.contract import ImageShape, check_images, described
from simkit.transforms.grids import MOST_POINTS, enlarged
from simkit.transforms.stored import image_shape_of, share_of
from simkit.triggers import FloatArray
from simkit.verdict import SequentialTest

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Picture:
    """A trigger that blends a smooth picture into the image; satisfies `Transform`.

    alpha: the picture's share, in (0, 1]. points: uint8 (C, k, k), its values at k x k points from corner to corner, 2
    or more. In between it is interpolated bicubically.
    """

    image_shape: ImageShape
    alpha: float
    points: NDArray[np.uint8]

    family: ClassVar[str] = "picture"
    unit: ClassVar[str] = "of the image"

    @property
    def mask_size(self) -> float:
        """See `Transform`: all pixels."""
        return float(self.image_shape[1] * self.image_shape[2])

    @property
    def strength(self) -> float:
        """The picture's share of the image."""
        return self.alpha

    @property
    def words(self) -> str:
        """See `Transform`; with the points of its grid."""
        side = self.points.shape[1]
        return described(self, f"{side}x{side} points")

    @cached_property
    def shown(self) -> FloatArray:
        """The picture, float32 (C, H, W) in [0, 1]."""
        _, height, width = self.image_shape
        dense = enlarged(self.points / 255.0, height, width)
        return np.clip(dense, 0.0, 1.0).astype(np.float32)

    @property
    def as_patch(self) -> None:
        """See `Transform`: it has no mask."""

    @property
    def arrows(self) -> None:
        """See `Transform`: it moves nothing."""

    def on(self, images: FloatArray) -> FloatArray:
        """See `Transform`."""
        check_images(images, self.image_shape)
        mixed: FloatArray = images * np.float32(1.0 - self.alpha) + np.float32(self.alpha) * self.shown
        return np.clip(mixed, np.float32(0.0), np.float32(1.0), out=mixed)

    def copied(self) -> Picture:
        """See `Transform`."""
        return Picture(self.image_shape, self.alpha, self.points.copy())

    def to_json(self) -> dict[str, Any]:
        """See `Transform`; the points are base64 of their bytes."""
        points = {"shape": [*self.points.shape], "points": base64.b64encode(self.points.tobytes()).decode()}
        return {"family": self.family, "image_shape": [*self.image_shape], "alpha": self.alpha} | points

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Picture:
        """The trigger that `to_json` wrote. Raises KeyError, TypeError or ValueError where it is none."""
        shape, alpha = image_shape_of(fields), share_of(fields["alpha"])
        deep, side = int(fields["shape"][0]), int(fields["shape"][1])
        if [*fields["shape"]] != [shape[0], side, side] or deep != shape[0] or not 2 <= side <= MOST_POINTS:
            raise ValueError(f"points {fields['shape']}; need {shape[0]} channels of 2x2 to {MOST_POINTS} a side")
        values = np.frombuffer(base64.b64decode(fields["points"], validate=True), np.uint8)
        return cls(shape, alpha, values.reshape(deep, side, side))


@dataclass(frozen=True)
class PictureFamily:
    """How a race draws smooth pictures, and what it demands of them."""

    # Chosen on victims of the split tune with natural pictures blended in, and on clean models of the split calibrate
    # (docs/measured/pictures.md, results/pictures.jsonl).
    name: str = "picture"
    """The name of the family."""
    largest_alpha: float = 0.3
    """The share of every picture: the cap of the family. It may be more than a trigger was trained with."""
    side: int = 8
    """Points per side of a picture."""
    contrast: float = 1.5
    """Scale of a picture's normal numbers before tanh: 1.5 makes most of the points dark or bright."""
    mutation: float = 0.5
    """Standard deviation of the noise on the numbers of a child."""
    required_success: float = 0.75
    """See `Family`."""
    required_trials: int = 8
    """See `Family`."""
    screen: SequentialTest = field(default_factory=lambda: SequentialTest(0.95, 0.82, 0.02, 0.02))
    """See `Family`."""
    test: SequentialTest = field(default_factory=lambda: SequentialTest(0.96, 0.85, 0.01, 0.01))
    """See `Family`."""

    def __post_init__(self) -> None:
        if not 0 < self.largest_alpha < 1 or not 2 <= self.side <= MOST_POINTS:
            raise ConfigError(f"pictures need largest_alpha in (0, 1), and a side of 2 to {MOST_POINTS} points")
        if min(self.contrast, self.mutation) <= 0:
            raise ConfigError("pictures need contrast and mutation above 0")

    def from_json(self, fields: Mapping[str, Any]) -> Picture:
        """See `Family`."""
        return Picture.from_json(fields)

    def breeder(self, image_shape: ImageShape) -> PictureBreeder:
        """See `Family`."""
        return PictureBreeder(self, image_shape)


@dataclass(frozen=True)
class PictureBreeder:
    """Draws and mutates pictures for images of one shape; satisfies `Breeder` and `Vectored`.

    A candidate is an array of numbers (C, side, side) with a mean square of 1.
    """

    config: PictureFamily
    image_shape: ImageShape

    def fresh(self, rng: np.random.Generator) -> Numbers:
        """Normal numbers."""
        return _scaled(rng.normal(size=(self.image_shape[0], self.config.side, self.config.side)))

    def child(self, parent: Numbers, mates: Sequence[Numbers], rng: np.random.Generator) -> Numbers:
        """The mean with a mate, or the parent with noise."""
        if mates and rng.random() < 0.3:
            return _scaled(parent + mates[int(rng.integers(len(mates)))])
        return _scaled(parent + rng.normal(0.0, self.config.mutation, parent.shape))

    def transform(self, candidate: Numbers) -> Picture:
        """See `Breeder`."""
        levels = np.rint((np.tanh(candidate * self.config.contrast) + 1.0) * 127.5).astype(np.uint8)
        return Picture(self.image_shape, self.config.largest_alpha, levels)

    def share(self, candidate: Numbers) -> float:
        """See `Breeder`: all pictures have the largest share."""
        return 1.0

    def vector(self, candidate: Numbers) -> Numbers:
        """See `Vectored`: the numbers."""
        return candidate.ravel()

    def along(self, vector: Numbers, rng: np.random.Generator) -> Numbers:
        """See `Vectored`."""
        return _scaled(vector.reshape(-1, self.config.side, self.config.side))


def _scaled(numbers: Numbers) -> Numbers:
    return np.asarray(numbers / max(float(np.sqrt((numbers**2).mean())), 1e-9))
