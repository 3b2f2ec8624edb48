"""Synthesises images by queries for B3D-SS, which has none: random images, changed until the model predicts their
class.

Source: according to the slides B3D-SS synthesises its images; how, we know only from one unofficial implementation: 100
images of uniform noise per class, and 500 steps of natural evolution strategies on the cross-entropy. That takes 2.5
million queries per class. A synthesis can be much cheaper, since one answer is evidence about all classes.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from simkit.data.images import ImageSet, ImageShape
from simkit.errors import ConfigError
from simkit.search.b3d import Baseline
from simkit.search.contract import BoolArray, Evidence
from simkit.search.estimators import leave_one_out, pattern_gradient
from simkit.search.evaluator import Evaluator
from simkit.search.noise import Kind, directions, random_image
from simkit.seeding import stream
from simkit.triggers import FloatArray, IntArray

Indices: TypeAlias = NDArray[np.integer]

SYNTHETIC = "synthetic"
"""The name of synthesised images."""

_CALL = 250
"""Approximate number of queries per call."""


@dataclass(frozen=True)
class SynthesisConfig:
    """How images are synthesised. The defaults are those of the unofficial implementation, except the number of
    images."""

    draws: int = 0
    """Random images that are queried first; each class starts with those of highest score. 0: start from noise,
    unasked."""
    noise: Kind = "white"
    """Kind of the random images and steps: `white`, or `smooth` like natural images."""
    samples: int = 50
    """Queries per step and image."""
    sigma: float = 0.1
    """RMS of the noise in these queries."""
    steps: int = 500
    """Steps of gradient descent per image."""
    learning_rate: float = 0.05
    """Learning rate of the descent."""
    unit_steps: bool = False
    """Give every step an RMS of `learning_rate`, instead of `learning_rate` times the gradient."""
    baseline: Baseline = "none"
    """As in `B3DConfig`."""
    antithetic: bool = False
    """As in `B3DConfig`."""
    enough: float = 1.0
    """Probability of its class at which an image is not changed any further."""

    def __post_init__(self) -> None:
        if min(self.draws, self.steps) < 0 or self.samples < 4 or (self.antithetic and self.samples % 2):
            raise ConfigError(
                f"synthesis: draws {self.draws}, steps {self.steps}, samples {self.samples}; need draws and steps of 0 "
                "or more, and samples of 4 or more, an even number if antithetic"
            )
        if not (self.sigma > 0 and self.learning_rate > 0 and 0 < self.enough <= 1):
            raise ConfigError("synthesis: sigma and learning_rate must be above 0, enough in (0, 1]")

    def most_queries(self, images: int) -> int:
        """The largest number of queries that `images` images can take."""
        return self.drawn(images) + images * (self.steps * self.samples + 1)

    def drawn(self, images: int) -> int:
        """How many random images are queried for `images` images."""
        return max(self.draws, images) if self.draws else 0


@dataclass(frozen=True, eq=False)
class _Making:
    """Unfinished images: pixels float32 (N, C, H, W), the target class of each, and the last answers.

    score: float32 (N,), score of the target class, -inf before an answer. labels: the model's answer, -1 if unknown or
    none. moved: whether the image changed since that answer.
    """

    pixels: FloatArray
    targets: IntArray
    score: FloatArray
    labels: IntArray
    moved: BoolArray


@dataclass(frozen=True)
class Synthesis:
    """Synthesises images, as a function of these settings, the seed and the answers only."""

    config: SynthesisConfig
    seed: int = 0

    def blank(self, images: int, image_shape: ImageShape) -> ImageSet:
        """Placeholders before the synthesis: grey images of unknown class."""
        return ImageSet.unlabelled(np.full((images, *image_shape), 0.5, np.float32), SYNTHETIC)

    def made(self, evaluator: Evaluator, images: int, image_shape: ImageShape) -> Iterator[ImageSet | None]:
        """None after every call, and at the end `images` images in random order, with the model's answers as labels.

        The purpose of these queries is `check`; the state of each step has the key `synthesis` and a checksum of the
        images. Raises Refused, NotFinite.
        """
        making = yield from self._begun(evaluator, images, image_shape)
        for step in range(self.config.steps):
            active = np.flatnonzero(making.score < math.log(self.config.enough))
            for some in _parts(active, _CALL // self.config.samples):
                self._descend(evaluator, making, some, step)
                yield None
        for some in _parts(np.flatnonzero(making.moved), _CALL):
            evidence = _asked(evaluator, making.pixels[some], _rows(some), {"synthesis": "label"})
            making.labels[some] = _labels(evidence)
            yield None
        blank = ImageSet.unlabelled(making.pixels, SYNTHETIC)
        yield blank.with_labels(making.labels, evaluator.n_classes)

    def _begun(self, evaluator: Evaluator, images: int, shape: ImageShape) -> Generator[None, None, _Making]:
        """The images before their first step: noise, or those of the `draws` random images with the highest scores."""
        config, shuffled = self.config, stream(self.seed, "synthesis", "order").permutation(images)
        if not (draws := config.drawn(images)):
            targets = (np.arange(images) % evaluator.n_classes).astype(np.int32)[shuffled]
            score, labels = np.full(images, -np.inf, np.float32), np.full(images, -1, np.int32)
            return _Making(self._drawn(np.arange(images), shape), targets, score, labels, np.ones(images, np.bool_))
        scores, labels = np.empty((draws, evaluator.n_classes), np.float32), np.empty(draws, np.int32)
        for some in _parts(np.arange(draws), _CALL):
            evidence = _asked(evaluator, self._drawn(some, shape), _rows(some), {"synthesis": "draw"})
            scores[some], labels[some] = evidence.score, _labels(evidence)
            yield
        chosen, targets = (column[shuffled] for column in spoken_for(scores, images))
        begun = self._drawn(chosen, shape)
        return _Making(begun, targets, scores[chosen, targets], labels[chosen], np.zeros(images, np.bool_))

    def _drawn(self, numbers: Indices, shape: ImageShape) -> FloatArray:
        """The random images with these numbers, which are drawn again when needed instead of being stored."""
        streams = (stream(self.seed, "synthesis", "draw", int(number)) for number in numbers)
        return np.stack([random_image(rng, shape, self.config.noise) for rng in streams])

    def _descend(self, evaluator: Evaluator, making: _Making, some: Indices, step: int) -> None:
        """One step of gradient descent on the cross-entropy of some images' classes, in place."""
        config, shape = self.config, making.pixels.shape[1:]
        noise = np.stack([self._noise(image, step, shape) for image in some])
        sent = np.clip(making.pixels[some, None] + np.float32(config.sigma) * noise, 0.0, 1.0)
        candidates = np.tile(np.arange(config.samples, dtype=np.int32), len(some))
        rows = _rows(np.repeat(some, config.samples), candidates)
        evidence = _asked(evaluator, sent.reshape(-1, *shape), rows, {"synthesis": "descend", "step": step})
        scores = evidence.score.reshape(len(some), config.samples, -1)
        for row, image in enumerate(some):
            losses = -scores[row, :, making.targets[image]]
            moved = making.pixels[image] - self._step(losses, noise[row])
            making.pixels[image] = np.clip(moved, 0.0, 1.0)
            making.score[image] = -losses.mean()  # approximately that of the image before the step
            making.moved[image] = True

    def _noise(self, image: int, step: int, shape: tuple[int, ...]) -> FloatArray:
        config, rng = self.config, stream(self.seed, "synthesis", "descend", step, int(image))
        size: ImageShape = (shape[0], shape[1], shape[2])
        if not config.antithetic:
            return directions(rng, config.samples, size, config.noise)
        half = directions(rng, config.samples // 2, size, config.noise)
        return np.concatenate([half, -half])

    def _step(self, losses: FloatArray, noise: FloatArray) -> FloatArray:
        """The step: learning_rate times the estimated gradient, or of RMS learning_rate; zero if all losses are
        equal."""
        config = self.config
        if config.baseline == "leave_one_out":
            losses = leave_one_out(losses, 2 if config.antithetic else 1)
        gradient = pattern_gradient(losses, noise, config.sigma)
        rms = float(np.sqrt(np.mean(gradient**2))) if config.unit_steps else 1.0
        step: FloatArray = gradient * np.float32(config.learning_rate / rms) if rms > 0 else np.zeros_like(gradient)
        return step


def spoken_for(scores: FloatArray, images: int) -> tuple[IntArray, IntArray]:
    """Which of N queried images to start from, and for which classes: int32 (images,) twice, each image at most once.

    scores: float32 (N, T), N >= images. The best image of every class comes first, then the second best, and so on. A
    score that equals the lowest of all carries no information about a class and is used only if there is no other.
    """
    n_classes = scores.shape[1]
    ranks = np.argsort(np.argsort(-scores, axis=0, kind="stable"), axis=0, kind="stable")
    silent = scores <= scores.min()
    order = np.lexsort((-scores.ravel(), ranks.ravel(), silent.ravel()))
    chosen, targets = np.divmod(order, n_classes)
    _, first = np.unique(chosen, return_index=True)
    kept = np.sort(first)[:images]
    return chosen[kept].astype(np.int32), targets[kept].astype(np.int32)


def _asked(evaluator: Evaluator, pixels: FloatArray, rows: IntArray, state: dict[str, str | int]) -> Evidence:
    recorded = state | {"digest": zlib.crc32(pixels.tobytes())}
    return evaluator.unlabelled(pixels, rows=rows, purpose="check", state=json.dumps(recorded))


def _labels(evidence: Evidence) -> IntArray:
    """The top class of each image, -1 where the service names none."""
    labels: IntArray = np.where(evidence.hit.any(axis=1), evidence.hit.argmax(axis=1), -1).astype(np.int32)
    return labels


def _rows(images: Indices, candidates: IntArray | None = None) -> IntArray:
    """Image and candidate of each query, int32 (N, 2); -1 means no candidate."""
    beside = np.full(len(images), -1) if candidates is None else candidates
    return np.column_stack([images, beside]).astype(np.int32)


def _parts(indices: Indices, size: int) -> Iterator[Indices]:
    """The indices in parts of `size`, but at least 1."""
    size = max(size, 1)
    return (indices[start : start + size] for start in range(0, len(indices), size))
