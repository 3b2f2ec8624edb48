"""Leaps: candidates along the direction in which all answers together say that a class's margin rises.

Every answer is evidence about every class, so one ridge regression per class over all candidates of a family, also over
those that were dropped, points from chance to where a trigger may be (ours).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simkit.errors import ConfigError
from simkit.search.contract import BoolArray
from simkit.search.niches import Member
from simkit.seeding import stream
from simkit.transforms.breeding import Breeder, Vectored

Vectors = NDArray[np.float64]


@dataclass(frozen=True)
class LeapConfig:
    """How the slopes of a family of vectors are followed."""

    # Chosen on tune victims with warps: a race of warps alone found 18 of 18 with it and 15 without it
    # (benchmarks/family_variants.py, results/family-ablation.jsonl).
    each: int = 3
    """Candidates per round and family; 0 for none."""
    classes: int = 4
    """Classes with the steepest slopes, which take turns."""
    after: int = 200
    """Answers of a family from which its slopes are followed."""
    noise: float = 0.4
    """Length of the noise that is added to a direction of length 1."""
    ridge: float = 30.0
    """Weight of the ridge, in answers to vectors of length 1."""

    def __post_init__(self) -> None:
        if min(self.each, self.after) < 0 or self.classes < 1 or self.noise < 0 or self.ridge <= 0:
            raise ConfigError("leaps need each, after and noise of 0 or more, classes of 1 or more, ridge above 0")


class Slopes:
    """A ridge regression of gains on vectors of `size` numbers, for T classes."""

    def __init__(self, size: int, n_classes: int, ridge: float) -> None:
        self._seen, self._risen = np.eye(size) * ridge, np.zeros((size, n_classes))
        self.answers = 0

    def add(self, vectors: Vectors, gains: Vectors, valid: BoolArray) -> None:
        """Add answers. vectors: (N, size). gains: margins above the baseline, (N, T). valid: (N, T)."""
        self._seen += vectors.T @ vectors
        self._risen += vectors.T @ np.where(valid, gains, 0.0)
        self.answers += len(vectors)

    def directions(self) -> Vectors:
        """The slope of each class's gain, (T, size)."""
        return np.asarray(np.linalg.solve(self._seen, self._risen).T, dtype=np.float64)


class Leaps:
    """The slopes of those families of a race whose candidates are vectors, and candidates along them."""

    def __init__(self, config: LeapConfig, breeders: Sequence[Breeder], n_classes: int) -> None:
        self._config = config
        self._vectored = {family: b for family, b in enumerate(breeders) if isinstance(b, Vectored)}
        self._slopes: dict[int, Slopes] = {}
        for family, breeder in self._vectored.items():
            size = len(breeder.vector(breeders[family].fresh(stream(0, "leaps"))))
            self._slopes[family] = Slopes(size, n_classes, config.ridge)

    def learn(self, asked: Sequence[Member], gains: Vectors, valid: BoolArray) -> None:
        """Add the answers to these members. gains, valid: (N, T)."""
        for family, breeder in self._vectored.items():
            rows = [row for row, member in enumerate(asked) if member.family == family]
            if rows:
                vectors = np.stack([breeder.vector(asked[row].candidate) for row in rows])
                self._slopes[family].add(vectors, gains[rows], valid[rows])

    def draw(self, turn: int, rng: np.random.Generator) -> Iterator[tuple[int, Any]]:
        """Candidates of each such family with its number. turn: which of the steepest classes begins."""
        for family, slopes in self._slopes.items():
            if slopes.answers < self._config.after:
                continue
            directions = slopes.directions()
            lengths = np.linalg.norm(directions, axis=1)
            steepest = np.argsort(-lengths, kind="stable")[: self._config.classes]
            for number in range(self._config.each):
                target = int(steepest[(turn * self._config.each + number) % len(steepest)])
                size = directions.shape[1]
                noise = rng.normal(0.0, self._config.noise / math.sqrt(size), size)
                yield family, self._vectored[family].along(directions[target] / max(lengths[target], 1e-9) + noise, rng)
