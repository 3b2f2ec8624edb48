"""Oracles with known answers."""

from __future__ import annotations

import numpy as np
import torch

from oracles.answers import Answer, FloatArray, Scores
from oracles.errors import ModelError
from oracles.oracle import ImageShape, Tag, check_shape


class LinearOracle:
    """Softmax of a fixed random projection; keeps the batches it was asked, and can be told to fail."""

    def __init__(self, n_classes: int = 5, image_shape: ImageShape = (3, 4, 4), failing: bool = False) -> None:
        self._n_classes, self._image_shape = n_classes, image_shape
        pixels = int(np.prod(image_shape))
        self._weights = torch.from_numpy(np.random.default_rng(0).normal(size=(pixels, n_classes)).astype(np.float32))
        self.failing = failing
        self.batches: list[torch.Tensor] = []

    @property
    def n_classes(self) -> int:
        return self._n_classes

    @property
    def image_shape(self) -> ImageShape:
        return self._image_shape

    @property
    def images_seen(self) -> int:
        return sum(map(len, self.batches))

    def query(self, images: torch.Tensor, tag: Tag | None = None) -> Answer:
        check_shape(images, self._image_shape)
        if self.failing:
            raise ModelError("told to fail")
        self.batches.append(images.clone())
        # One row at a time: answers must not depend on the batch by even one bit.
        rows = [torch.softmax((row[None] - 0.5).flatten(1) @ self._weights, dim=1) for row in images]
        return Scores(torch.cat(rows).numpy())


class TableOracle:
    """Answers the given scores, in order, whatever the images."""

    def __init__(self, values: FloatArray, floor: float = 0.0) -> None:
        self._values, self._floor = np.asarray(values, dtype=np.float32), floor
        self._at = 0

    @property
    def n_classes(self) -> int:
        return int(self._values.shape[1])

    @property
    def image_shape(self) -> ImageShape:
        return (1, 2, 2)

    def query(self, images: torch.Tensor, tag: Tag | None = None) -> Answer:
        check_shape(images, self.image_shape)
        self._at += len(images)
        return Scores(self._values[self._at - len(images) : self._at], self._floor)


def random_images(count: int, shape: ImageShape = (3, 4, 4), seed: int = 1) -> torch.Tensor:
    """Uniform images float32 (count, *shape)."""
    return torch.rand((count, *shape), generator=torch.Generator().manual_seed(seed))
