"""Random patches, and the pool in which a race keeps its candidates and the evidence about every class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from simkit.search.contract import BoolArray, Evidence, Task
from simkit.search.pair_trial import Pair
from simkit.triggers import FloatArray, IntArray, Trigger
from simkit.verdict import ClassResult

MARGIN = (-6.0, 3.0)
"""Margins (a class's score minus the best other score) are clipped to this range, so that no answer dominates
(prototype)."""

COLOURS = (0.6, 0.2, 0.1, 0.1)
"""Probabilities of: one colour, one colour per pixel, black and white, two colours (prototype)."""

_LARGE_SHARE = 0.2
"""Share of an image above which a patch is large: 4x4 on 8x8 pixels (1/4) flagged clean models, 3x3 (1/7) did not."""

_FEW_PIXELS = 4


def large_patch_warnings(side: int, image_shape: tuple[int, int, int]) -> tuple[str, ...]:
    """A warning if patches of `side` x `side` pixels hide the features of a class on images (C, H, W)."""
    _, height, width = image_shape
    if side**2 / (height * width) <= _LARGE_SHARE:
        return ()
    warning = f"patches of {side}x{side} cover much of an image of {height}x{width}: clean models may be flagged"
    return (f"{warning}; lower search.largest_side and rule.threshold, or raise search.required_success",)


def small_patch_warnings(area: int, image_shape: tuple[int, int, int]) -> tuple[str, ...]:
    """A warning if a race looks for patches of up to `area` pixels, fewer than 2x2, on images (C, H, W)."""
    if area >= _FEW_PIXELS:
        return ()
    limit = f"on images of {image_shape[1]}x{image_shape[2]} this race looks for patches of {area} pixels at most"
    return (f"{limit}; raise search.largest_share and rule.threshold, or choose preset auto",)


@dataclass(frozen=True, eq=False)
class PatchPool:
    """K candidates, with their evidence about T classes on I images.

    candidates (K,): objects of which the search makes triggers. trials, hits (K, T): valid answers for the class, and
    those in which it was the top class. sums (K, T): sums of the margins above the image's baseline. seen (K, I): the
    images on which a candidate was tried.
    """

    candidates: NDArray[np.object_]
    trials: NDArray[np.int64]
    hits: NDArray[np.int64]
    sums: NDArray[np.float64]
    seen: BoolArray

    @classmethod
    def untried(cls, candidates: Sequence[object], task: Task) -> PatchPool:
        k, t, i = len(candidates), task.n_classes, len(task.image_classes)
        held = np.empty(k, dtype=np.object_)
        held[:] = candidates
        counts = np.zeros((2, k, t), dtype=np.int64)
        return cls(held, counts[0], counts[1], np.zeros((k, t)), np.zeros((k, i), dtype=np.bool_))

    def __len__(self) -> int:
        return len(self.candidates)

    def joined(self, other: PatchPool) -> PatchPool:
        """Both pools in one, this one's candidates first, as copies."""
        return PatchPool(*(np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)))

    def take(self, rows: NDArray[np.intp]) -> PatchPool:
        """The candidates at `rows`, with copied counts."""
        return PatchPool(*(getattr(self, f.name)[rows] for f in fields(self)))

    def updated(self, asked: IntArray, evidence: Evidence, gains: NDArray[np.float64]) -> PatchPool:
        """The pool after the answers to `asked` (N, 2), candidate and image. gains (N, T): margins above the
        baseline."""
        rows, images = asked.T
        new = self.take(np.arange(len(self)))
        np.add.at(new.trials, rows, evidence.valid)
        np.add.at(new.hits, rows, evidence.hit & evidence.valid)
        np.add.at(new.sums, rows, np.where(evidence.valid, gains, 0.0))
        new.seen[rows, images] = True
        return new

    def values(self, shrinkage: float = 1.0) -> NDArray[np.float64]:
        """sum / (trials + shrinkage), which shrinks means of few answers; -inf without answers."""
        return np.where(self.trials > 0, self.sums / (self.trials + shrinkage), -np.inf)

    def rates(self) -> NDArray[np.float64]:
        """The estimated success rates, (hits + 0.5) / (trials + 1)."""
        rates: NDArray[np.float64] = (self.hits + 0.5) / (self.trials + 1)
        return rates

    def result(self, target: int, row: int, trigger: Trigger, works: bool) -> ClassResult:
        """Candidate `row` as the result of a class; its trigger is copied."""
        copied = Trigger(trigger.mask.copy(), trigger.pattern.copy())
        rate = float(self.hits[row, target] / self.trials[row, target])
        return ClassResult(target, copied, copied.mask_size, rate, censored=not works)


class Baselines:
    """The mean margin of every image and class so far, shrunk towards the class's mean over all images."""

    def __init__(self, task: Task, prior_weight: float) -> None:
        self._prior_weight = prior_weight
        self._trials, self._sums = np.zeros((2, len(task.image_classes), task.n_classes))

    def updated(self, images: IntArray, observed: NDArray[np.float64], valid: BoolArray) -> NDArray[np.float64]:
        """Add the margins (N, T) of `images` and return the mean of each image so far, (N, T)."""
        np.add.at(self._trials, images, valid)
        np.add.at(self._sums, images, np.where(valid, observed, 0.0))
        mean = self._sums.sum(axis=0) / np.maximum(self._trials.sum(axis=0), 1.0)
        means = (self._sums + self._prior_weight * mean) / (self._trials + self._prior_weight)
        chosen: NDArray[np.float64] = means[images]
        return chosen


def untried(target: int, image_shape: tuple[int, int, int]) -> ClassResult:
    """The result of a class before any patch was tried: an empty trigger."""
    mask, pattern = (np.zeros((channels, *image_shape[1:]), np.float32) for channels in (1, image_shape[0]))
    return ClassResult(target, Trigger(mask, pattern), 0.0, None, censored=True)


def margins(score: FloatArray, within: tuple[float, float] = MARGIN) -> NDArray[np.float64]:
    """Each class's score minus the best of the other scores, (N, T), clipped to this range."""
    second, first = np.partition(score, -2, axis=1)[:, -2:].T[:, :, None]
    leads = np.arange(score.shape[1]) == score.argmax(axis=1)[:, None]
    ahead: NDArray[np.float64] = np.clip(score - np.where(leads, second, first), *within).astype(np.float64)
    return ahead


def random_patch(rng: np.random.Generator, image_shape: tuple[int, int, int], largest_side: int) -> Trigger:
    """A square of side 1..largest_side (at most the image) at a random position, in one of the kinds of `COLOURS`."""
    channels, height, width = image_shape
    side = int(rng.integers(1, min(largest_side, height, width) + 1))
    top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    mask = np.zeros((1, height, width), dtype=np.float32)
    pattern = np.zeros(image_shape, dtype=np.float32)
    mask[:, top : top + side, left : left + side] = 1.0
    pattern[:, top : top + side, left : left + side] = patch_colours(rng, channels, side, side)
    return Trigger(mask, pattern)


def patch_colours(rng: np.random.Generator, channels: int, height: int, width: int) -> FloatArray:
    """Colours of one of the four kinds of `COLOURS`, float32 (C, height, width), or what broadcasts to it."""
    kind = int(rng.choice(len(COLOURS), p=COLOURS))
    if kind == 1:
        return rng.random((channels, height, width), dtype=np.float32)
    first, second = rng.random((2, channels, 1, 1), dtype=np.float32)
    light = rng.integers(0, 2, (1, height, width)).astype(np.float32)
    colours: FloatArray = first if kind == 0 else light if kind == 2 else light * first + (1 - light) * second
    return colours


def ranked(values: NDArray[np.float64]) -> list[Pair]:
    """The pairs with answers, best first, each candidate once. values: (candidates, classes), -inf without answers."""
    answered = np.isfinite(values)
    best_first = np.argsort(-values, axis=None, kind="stable")[: answered.sum()]
    rows, targets = np.unravel_index(best_first, values.shape)
    _, first = np.unique(rows, return_index=True)
    return [(int(rows[i]), int(targets[i])) for i in np.sort(first)]
