"""Images made by asking, for a detector that has none (B3D-SS): random ones, moved until the model names their class.

Source: the slides, by which B3D-SS synthesises its images; how is known here from one unofficial implementation alone:
for each class 100 images of uniform noise, and 500 steps of natural evolution strategies down the cross entropy. That
takes 2.5 million queries a class. The search for images may be cheaper by far, since one answer speaks of all classes.
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
"""What images are called that are made by asking."""

_CALL = 250
"""Queries a call, about."""


@dataclass(frozen=True)
class SynthesisConfig:
    """How images are made; the defaults are those of the one implementation, but for the number of images.

    draws: random images asked about first, or as many as are wanted where those are more; every class begins with those
    of them that speak most for it. 0: every image begins as noise of its own, unasked. noise: of random images and of
    steps; `smooth`: like pictures of things.
    samples: queries a step and image. sigma: RMS of their noise. steps, learning_rate: of the descent. unit_steps:
    every step has an RMS of learning_rate; else that times the gradient. baseline, antithetic: as of `B3DConfig`.
    enough: an image that its class has so much probability of is moved no further.
    """

    draws: int = 0
    noise: Kind = "white"
    samples: int = 50
    sigma: float = 0.1
    steps: int = 500
    learning_rate: float = 0.05
    unit_steps: bool = False
    baseline: Baseline = "none"
    antithetic: bool = False
    enough: float = 1.0

    def __post_init__(self) -> None:
        if min(self.draws, self.steps) < 0 or self.samples < 4 or (self.antithetic and self.samples % 2):
            raise ConfigError(
                f"synthesis: draws {self.draws}, steps {self.steps}, samples {self.samples}; need draws and steps of 0 "
                "or more, samples of 4 or more, an even number where they are antithetic"
            )
        if not (self.sigma > 0 and self.learning_rate > 0 and 0 < self.enough <= 1):
            raise ConfigError("synthesis: sigma and learning_rate must be above 0, enough in (0, 1]")

    def most_queries(self, images: int) -> int:
        """What `images` images cost at most."""
        return self.drawn(images) + images * (self.steps * self.samples + 1)

    def drawn(self, images: int) -> int:
        """How many random images are asked about for `images` images."""
        return max(self.draws, images) if self.draws else 0


@dataclass(frozen=True, eq=False)
class _Making:
    """Images on their way: pixels float32 (N, C, H, W), the class each is to become, and what is known of them.

    score: float32 (N,), of that class; -inf before an answer. labels: the model's answer, -1 unknown or none.
    moved: since that answer.
    """

    pixels: FloatArray
    targets: IntArray
    score: FloatArray
    labels: IntArray
    moved: BoolArray


@dataclass(frozen=True)
class Synthesis:
    """Makes images; a function of these settings, the seed and the answers alone."""

    config: SynthesisConfig
    seed: int = 0

    def blank(self, images: int, image_shape: ImageShape) -> ImageSet:
        """What stands for images of which none is made yet: grey, and of no known class."""
        return ImageSet.unlabelled(np.full((images, *image_shape), 0.5, np.float32), SYNTHETIC)

    def made(self, evaluator: Evaluator, images: int, image_shape: ImageShape) -> Iterator[ImageSet | None]:
        """None after every call, and then so many images in random order, with the model's own answers for labels.

        The purpose of their queries is `check`; the state of each such step says `synthesis`, and has a checksum of the
        images, which are all that was known. Raises Refused, NotFinite.
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
        """The images before their first step: noise, or of `draws` random images those that answers speak for."""
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
        """The random images of these numbers: drawn again where they are needed, they need not be kept."""
        streams = (stream(self.seed, "synthesis", "draw", int(number)) for number in numbers)
        return np.stack([random_image(rng, shape, self.config.noise) for rng in streams])

    def _descend(self, evaluator: Evaluator, making: _Making, some: Indices, step: int) -> None:
        """One step down the cross entropy of some images' classes, in place."""
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
            making.score[image] = -losses.mean()  # of the image before the step, about
            making.moved[image] = True

    def _noise(self, image: int, step: int, shape: tuple[int, ...]) -> FloatArray:
        config, rng = self.config, stream(self.seed, "synthesis", "descend", step, int(image))
        size: ImageShape = (shape[0], shape[1], shape[2])
        if not config.antithetic:
            return directions(rng, config.samples, size, config.noise)
        half = directions(rng, config.samples // 2, size, config.noise)
        return np.concatenate([half, -half])

    def _step(self, losses: FloatArray, noise: FloatArray) -> FloatArray:
        """learning_rate times the estimated gradient, or as long as that; nothing where all losses are equal."""
        config = self.config
        if config.baseline == "leave_one_out":
            losses = leave_one_out(losses, 2 if config.antithetic else 1)
        gradient = pattern_gradient(losses, noise, config.sigma)
        rms = float(np.sqrt(np.mean(gradient**2))) if config.unit_steps else 1.0
        step: FloatArray = gradient * np.float32(config.learning_rate / rms) if rms > 0 else np.zeros_like(gradient)
        return step


def spoken_for(scores: FloatArray, images: int) -> tuple[IntArray, IntArray]:
    """Which of N asked images to begin with, and as what: int32 (images,) twice, no image more than once.

    scores: float32 (N, T), N >= images. The best of every class come first, then the second best ...; an answer that
    says nothing of a class, being the lowest of all scores, speaks for it only where there is no other.
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
    told = state | {"digest": zlib.crc32(pixels.tobytes())}
    return evaluator.unlabelled(pixels, rows, "check", json.dumps(told))


def _labels(evidence: Evidence) -> IntArray:
    """The best class of each image, -1 where the service names none."""
    labels: IntArray = np.where(evidence.hit.any(axis=1), evidence.hit.argmax(axis=1), -1).astype(np.int32)
    return labels


def _rows(images: Indices, candidates: IntArray | None = None) -> IntArray:
    """Image and candidate of each query, int32 (N, 2); -1 is no candidate."""
    beside = np.full(len(images), -1) if candidates is None else candidates
    return np.column_stack([images, beside]).astype(np.int32)


def _parts(indices: Indices, size: int) -> Iterator[Indices]:
    """The indices in parts of `size`, or of 1 where that is less."""
    size = max(size, 1)
    return (indices[start : start + size] for start in range(0, len(indices), size))
