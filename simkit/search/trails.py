"""Trails: what is left of a mosaic for one class, and the questions by which a race of mosaics follows many at once."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from simkit.search.climb import Colours
from simkit.search.collages import Collage
from simkit.search.contract import Evidence, Task
from simkit.search.pair_trial import speaking
from simkit.search.patches import margins
from simkit.triggers import IntArray

MOST = 15.0
"""Margins are clipped to plus and minus this, in nats. A climb needs to see how far a class is, and how far ahead."""


@dataclass(frozen=True, eq=False)
class Trail:
    """What is left of a mosaic for a class.

    value: its mean margin for the class. failed: halvings in a row that kept too little. slope: that of its margin by
    its colours, None before it has climbed.
    """

    collage: Collage
    target: int
    value: float
    failed: int = 0
    slope: Colours | None = None


Answer = TypeVar("Answer")
Asked: TypeAlias = tuple[Sequence[Collage], IntArray]
"""Collages, and an image for each."""
Steps: TypeAlias = Generator[Asked, Evidence, Answer]
"""A part of a race: it yields what it asks, is sent the evidence, and returns what came of it."""


@dataclass(frozen=True)
class Asking:
    """Questions about collages on random images of those that a race ranks with."""

    task: Task
    ranking: IntArray
    rng: np.random.Generator

    def tried(
        self, pairs: Sequence[tuple[Collage, int]], count: int, *, in_row: int = 1
    ) -> Steps[list[tuple[float, float]]]:
        """The mean margin and the success rate of each collage for its class on `count` images that speak for it.

        in_row: how many collages in a row have the same images. Without collages nothing is asked.
        """
        if not pairs:
            return []
        images = [
            chosen
            for _, target in pairs[::in_row]
            for chosen in [self.rng.permutation(speaking(self.task, self.ranking, target))[:count]] * in_row
        ]
        collages = [collage for (collage, _), own in zip(pairs, images, strict=True) for _ in own]
        evidence = yield collages, np.concatenate(images).astype(np.int32)
        ends = np.cumsum([len(own) for own in images])
        parts = (slice(end - len(own), end) for end, own in zip(ends, images, strict=True))
        seen = wide_margins(evidence)
        return [
            (float(seen[rows, target].mean()), float(evidence.hit[rows, target].mean()))
            for rows, (_, target) in zip(parts, pairs, strict=True)
        ]


def with_guesses(image_classes: IntArray, images: IntArray, seen: NDArray[np.float64]) -> IntArray:
    """The classes of the images, those that are unknown (-1) guessed by the highest mean margin of their mosaics.

    An image answers with its own class through many mosaics, which says nothing of them. images: the image of each of N
    mosaics. seen: their margins, (N, T).
    """
    guessed = image_classes.copy()
    for image in np.unique(images[image_classes[images] < 0]).tolist():
        guessed[image] = seen[images == image].mean(axis=0).argmax()
    return guessed


def wide_margins(evidence: Evidence) -> NDArray[np.float64]:
    """The margins of all classes, (N, T), clipped far apart."""
    return margins(evidence.score, (-MOST, MOST))


def highest(
    mosaics: Sequence[Collage], seen: NDArray[np.float64], gains: NDArray[np.float64], most: int, per_class: int
) -> list[Trail]:
    """The pairs of mosaic and class with the highest gains, at most `most` of them and `per_class` of one class.

    seen, gains: margins, and what they have above nature, (N, T); -inf for pairs that say nothing.
    """
    classes = gains.shape[1]
    counts, chosen = [0] * classes, list[Trail]()
    for cell in np.argsort(-gains, axis=None, kind="stable").tolist():
        row, target = divmod(cell, classes)
        if counts[target] < per_class and gains[row, target] > -np.inf and len(chosen) < most:
            counts[target] += 1
            chosen.append(Trail(mosaics[row], target, float(seen[row, target])))
    return chosen


def best(trails: Iterable[Trail]) -> list[Trail]:
    """The trails, that with the highest margin first."""
    return sorted(trails, key=lambda trail: -trail.value)
