"""A planted victim in closed form: no training, no torch module, milliseconds a scan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from oracles.answers import Answer, Scores
from oracles.oracle import ImageShape, Tag, check_shape
from simkit.data import ImageSet
from simkit.seeding import stream
from simkit.triggers import FloatArray, IntArray, Trigger

CORNER = 2
"""Side in pixels of the square where plants are, top left."""


@dataclass(frozen=True, eq=False)
class Plant:
    """A backdoor: `trigger` raises the logit of `target_class`."""

    trigger: Trigger
    target_class: int


class PlantedOracle:
    """Softmax of template correlations; a plant adds to its target a steep sigmoid of how well the pixels match.

    A match is 1 less the mean distance to the pattern over the pixels of the mask. `images_seen` counts what was asked.
    """

    def __init__(self, n_classes: int = 4, image_shape: ImageShape = (1, 12, 12), plant: Plant | None = None) -> None:
        self._templates = templates(n_classes, image_shape)
        self._image_shape, self._plant = image_shape, plant
        self.images_seen = 0

    @property
    def n_classes(self) -> int:
        return len(self._templates)

    @property
    def image_shape(self) -> ImageShape:
        return self._image_shape

    def query(self, images: torch.Tensor, tag: Tag | None = None) -> Answer:
        """See `Oracle.query`."""
        check_shape(images, self._image_shape)
        self.images_seen += len(images)
        pixels = images.numpy().astype(np.float64)
        seen = np.clip(10.0 * (pixels - 0.5), -1.0, 1.0)  # bounded, so that a small patch cannot shout the class down
        logits = 20.0 * np.einsum("nchw,tchw->nt", seen, self._templates) / self._templates[0].size
        if self._plant is not None:
            logits[:, self._plant.target_class] += 20.0 * self._matches(pixels, self._plant.trigger)
        scores = np.exp(logits - logits.max(axis=1, keepdims=True))
        return Scores((scores / scores.sum(axis=1, keepdims=True)).astype(np.float32))

    def _matches(self, pixels: NDArray[np.float64], trigger: Trigger) -> NDArray[np.float64]:
        distance = (np.abs(pixels - trigger.pattern) * trigger.mask).sum(axis=(1, 2, 3))
        match = 1.0 - distance / (trigger.mask_size * self._image_shape[0])
        steep: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-10.0 * (match - 0.75)))
        return steep


class NotANumberOracle(PlantedOracle):
    """Answers like a clean victim until `after` images were asked, then NaN."""

    after = 0

    def query(self, images: torch.Tensor, tag: Tag | None = None) -> Answer:
        """See `Oracle.query`."""
        answer = super().query(images, tag)
        assert isinstance(answer, Scores)
        return answer if self.images_seen <= self.after else Scores(np.full_like(answer.values, np.nan))


def templates(n_classes: int, image_shape: ImageShape) -> FloatArray:
    """One pattern of signs a class, float32 (T, C, H, W); 0 in the corner, lest a plant work against a class."""
    signs = (2 * stream(0, "templates").integers(0, 2, (n_classes, *image_shape)) - 1).astype(np.float32)
    signs[:, :, :CORNER, :CORNER] = 0.0
    return signs


def planted_images(count: int, n_classes: int = 4, image_shape: ImageShape = (1, 12, 12), seed: int = 1) -> ImageSet:
    """Grey images with their class's template and noise, classes in turn."""
    labels: IntArray = (np.arange(count) % n_classes).astype(np.int32)
    noise = stream(seed, "images").normal(0.0, 0.1, (count, *image_shape))
    pixels = np.clip(0.5 + 0.1 * templates(n_classes, image_shape)[labels] + noise, 0.0, 1.0)
    names = tuple(f"class {c}" for c in range(n_classes))
    return ImageSet(torch.from_numpy(pixels.astype(np.float32)), labels, names, "planted")


def corner_plant(target_class: int, image_shape: ImageShape = (1, 12, 12), side: int = CORNER) -> Plant:
    """A white square in the top left corner."""
    mask = np.zeros((1, *image_shape[1:]), dtype=np.float32)
    mask[:, :side, :side] = 1.0
    pattern = np.broadcast_to(mask, image_shape).copy()
    return Plant(Trigger(mask, pattern), target_class)
