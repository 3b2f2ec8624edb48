"""Blends: pictures of coarse cells that are mixed into the whole image, x' = (1 - alpha) x + alpha p."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from simkit.errors import ConfigError
from simkit.transforms.breeding import kept, some_strength
from simkit.transforms.contract import ImageShape, check_images, described
from simkit.transforms.stored import image_shape_of, number, parts_of, share_of
from simkit.triggers import FloatArray
from simkit.verdict import SequentialTest

Cells: TypeAlias = NDArray[np.uint8]

CELL_SIDES = (1, 1, 2, 3, 4)
"""Sides of the cells of a fresh picture, in 32nds of the image's side (prototype)."""

REDRAWN = (0.05, 0.15, 0.4)
"""Shares of the cells that a mutation draws anew (prototype)."""


@dataclass(frozen=True, eq=False)
class Layer:
    """One picture. alpha: its share, in (0, 1]. side: of a cell in pixels. cells: uint8 (C or 1, rows, columns)."""

    alpha: float
    side: int
    cells: Cells

    def picture(self, image_shape: ImageShape) -> FloatArray:
        """The picture, float32 (C, H, W) in [0, 1]."""
        channels, height, width = image_shape
        large = self.cells.repeat(self.side, axis=1).repeat(self.side, axis=2)[:, :height, :width]
        shown: FloatArray = (np.broadcast_to(large, (channels, height, width)) / 255.0).astype(np.float32)
        return shown


@dataclass(frozen=True, eq=False)
class Blend:
    """A trigger of one or more pictures that are blended in one after the other; satisfies `Transform`."""

    image_shape: ImageShape
    layers: tuple[Layer, ...]

    family: ClassVar[str] = "blend"
    unit: ClassVar[str] = "of the image"

    @property
    def mask_size(self) -> float:
        """See `Transform`: all pixels."""
        return float(self.image_shape[1] * self.image_shape[2])

    @property
    def strength(self) -> float:
        """The sum of the pictures' shares."""
        return sum(layer.alpha for layer in self.layers)

    @property
    def words(self) -> str:
        """See `Transform`; with the side of each picture's cells."""
        sides = sorted(layer.side for layer in self.layers)
        return described(self, f"cells of {' and '.join(map(str, sides))} {'pixel' if sides == [1] else 'pixels'}")

    @cached_property
    def mixed(self) -> tuple[np.float32, FloatArray]:
        """The share of the image that is left, and what is added to that, float32 (C, H, W)."""
        left, added = 1.0, np.zeros(self.image_shape)
        for layer in self.layers:
            left *= 1.0 - layer.alpha
            added = (1.0 - layer.alpha) * added + layer.alpha * layer.picture(self.image_shape)
        return np.float32(left), added.astype(np.float32)

    @property
    def as_patch(self) -> None:
        """See `Transform`: it has no mask."""

    @property
    def arrows(self) -> None:
        """See `Transform`: it moves nothing."""

    def on(self, images: FloatArray) -> FloatArray:
        """See `Transform`."""
        check_images(images, self.image_shape)
        left, added = self.mixed
        mixed: FloatArray = np.clip(images * left + added, np.float32(0.0), np.float32(1.0))
        return mixed

    def copied(self) -> Blend:
        """See `Transform`."""
        return Blend(self.image_shape, tuple(replace(layer, cells=layer.cells.copy()) for layer in self.layers))

    def to_json(self) -> dict[str, Any]:
        """See `Transform`; the cells are base64 of their bytes."""
        layers = [
            {
                "alpha": layer.alpha,
                "side": layer.side,
                "shape": [*layer.cells.shape],
                "cells": base64.b64encode(layer.cells.tobytes()).decode(),
            }
            for layer in self.layers
        ]
        return {"family": self.family, "image_shape": [*self.image_shape], "layers": layers}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Blend:
        """The trigger that `to_json` wrote. Raises KeyError, TypeError or ValueError where it is none."""
        shape = image_shape_of(fields)
        return cls(shape, tuple(_layer(each, shape) for each in parts_of(fields, "layers")))


def _layer(fields: Mapping[str, Any], image_shape: ImageShape) -> Layer:
    channels, height, width = image_shape
    side, alpha = int(number(fields["side"], 1)), share_of(fields["alpha"])
    if side > max(height, width):
        raise ValueError(f"cells of side {side} on images of {height}x{width}")
    rows, columns = -(-height // side), -(-width // side)
    deep = int(fields["shape"][0])
    if deep not in (1, channels) or [*fields["shape"]] != [deep, rows, columns]:
        raise ValueError(f"cells {fields['shape']}; need {rows} rows and {columns} columns in 1 or {channels} channels")
    cells = np.frombuffer(base64.b64decode(fields["cells"], validate=True), np.uint8).reshape(deep, rows, columns)
    return Layer(alpha, side, cells)


@dataclass(frozen=True)
class BlendFamily:
    """How a race draws pictures to blend in, and what it demands of them (prototype)."""

    name: str = "blend"
    """The name of the family."""
    largest_alpha: float = 0.15
    """The cap: largest sum of the shares of a trigger; at 0.25 the images of clean models turn too."""
    parts: int = 3
    """Pictures in a fresh candidate."""
    required_success: float = 0.88
    """See `Family`."""
    required_trials: int = 8
    """See `Family`."""
    screen: SequentialTest = field(default_factory=lambda: SequentialTest(0.97, 0.8, 0.02, 0.02))
    """See `Family`."""
    test: SequentialTest = field(default_factory=lambda: SequentialTest(0.98, 0.9, 0.02, 0.02))
    """See `Family`."""

    def __post_init__(self) -> None:
        if not 0 < self.largest_alpha < 1 or self.parts < 1:
            raise ConfigError("blends need largest_alpha in (0, 1) and parts >= 1")

    def from_json(self, fields: Mapping[str, Any]) -> Blend:
        """See `Family`."""
        return Blend.from_json(fields)

    def breeder(self, image_shape: ImageShape) -> BlendBreeder:
        """See `Family`."""
        return BlendBreeder(self, image_shape)


@dataclass(frozen=True)
class BlendBreeder:
    """Draws and mutates pictures for images of one shape; satisfies `Breeder`."""

    config: BlendFamily
    image_shape: ImageShape

    def fresh(self, rng: np.random.Generator) -> Blend:
        """Pictures of random cells, each with the largest share."""
        return Blend(self.image_shape, tuple(self._layer(rng) for _ in range(self.config.parts)))

    def child(self, parent: Blend, mates: Sequence[Blend], rng: np.random.Generator) -> Blend:
        """A half of the parent's pictures, or all of them with some cells drawn anew or taken from a mate."""
        if (half := kept(len(parent.layers), rng)) is not None:
            return Blend(self.image_shape, tuple(parent.layers[i] for i in half))
        alpha = self.config.largest_alpha * (some_strength(rng) if len(parent.layers) == 1 else 1.0)
        layers = (replace(self._mutant(layer, mates, rng), alpha=alpha) for layer in parent.layers)
        return Blend(self.image_shape, tuple(layers))

    def transform(self, candidate: Blend) -> Blend:
        """See `Breeder`."""
        return candidate

    def share(self, candidate: Blend) -> float:
        """See `Breeder`: the strength in multiples of the largest share."""
        return candidate.strength / self.config.largest_alpha

    def _layer(self, rng: np.random.Generator) -> Layer:
        channels, height, width = self.image_shape
        side = max(1, round(CELL_SIDES[int(rng.integers(len(CELL_SIDES)))] * min(height, width) / 32))
        deep = 1 if rng.random() < 0.3 else channels
        shape = (deep, -(-height // side), -(-width // side))
        return Layer(self.config.largest_alpha, side, _drawn(shape, rng.random() < 0.5, rng))

    def _mutant(self, layer: Layer, mates: Sequence[Blend], rng: np.random.Generator) -> Layer:
        like = [m for mate in mates for m in mate.layers if m.cells.shape == layer.cells.shape]
        if like and rng.random() < 0.3:
            new, changed = like[int(rng.integers(len(like)))].cells, rng.random(layer.cells.shape[1:]) < 0.5
        else:
            hard = bool(np.isin(layer.cells, (0, 255)).all())
            new = _drawn(layer.cells.shape, hard, rng)
            changed = rng.random(layer.cells.shape[1:]) < REDRAWN[int(rng.integers(len(REDRAWN)))]
        return replace(layer, cells=np.where(changed, new, layer.cells).astype(np.uint8))


def _drawn(shape: tuple[int, ...], hard: bool, rng: np.random.Generator) -> Cells:
    """Random cells: black and white, or any brightness."""
    return (rng.integers(0, 2, shape) * 255 if hard else rng.integers(0, 256, shape)).astype(np.uint8)
