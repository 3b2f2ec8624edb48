"""The simplest baseline for B3D: many small random patches, each tried on one image, the promising ones on more."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simkit.errors import ConfigError
from simkit.search.contract import AskTell, BoolArray, Evidence, Proposal, Search, Task
from simkit.search.lengths import Breadth, Retests
from simkit.search.needs import Lacking, all_lack, others, short_of
from simkit.search.patches import Baselines, PatchPool, large_patch_warnings, margins, random_patch, untried
from simkit.seeding import stream
from simkit.triggers import IntArray, Trigger, Triggers
from simkit.verdict import ClassResult

PRIOR_WEIGHT = 4.0
"""Weight of the class's mean in the baseline of an image, in answers (prototype)."""


@dataclass(frozen=True)
class RandomPatchConfig:
    """The settings of a search by random patches. The defaults are the prototype's, with its cap of 3,000 queries.

    A pair of patch and class works (is not censored) if it has `required_trials` answers and `required_success`.
    """

    fresh: int = 30
    """New patches per round, each tried on one image."""
    retests: int = 10
    """Further queries per round for the best pairs of patch and class."""
    retest_images: int = 2
    """Most further queries per pair and round."""
    largest_side: int = 4
    """Largest side of a patch, in pixels."""
    rounds: int = 75
    """Rounds until the search ends."""
    required_trials: int = 8
    """Answers that a pair needs to count as working."""
    required_success: float = 0.65
    """Success rate (hits + 0.5) / (trials + 1) that a pair needs to count as working."""
    most_trials: int = 32
    """Answers after which a pair gets no further queries."""
    keep: int = 200
    """Number of patches that are kept, besides the best of each class."""

    def __post_init__(self) -> None:
        counts = (self.fresh, self.retest_images, self.largest_side, self.rounds, self.required_trials, self.keep)
        if min(counts) < 1 or self.retests < 0 or self.most_trials < self.required_trials:
            raise ConfigError(f"{self}; need counts >= 1, retests >= 0, most_trials >= required_trials")
        if not 0 < self.required_success < 1:
            raise ConfigError(f"required_success {self.required_success}; must lie in (0, 1)")

    def full_length(self, n_classes: int) -> int:
        """See `Bounded`."""
        return self.rounds * self.fresh + (self.rounds - 1) * self.retests

    def search(self, task: Task, seed: int) -> Search:
        """See `SearchConfig`."""
        return RandomPatch(self, task, seed)

    def warnings(self, image_shape: tuple[int, int, int], *, alone: bool) -> tuple[str, ...]:
        """See `Cautious`."""
        return large_patch_warnings(self.largest_side, image_shape)

    def lacking(self, task: Task) -> Lacking:
        """See `Demanding`."""
        each = min(self.retests, self.retest_images)
        pair = Retests(self.required_trials, self.required_success, self.most_trials, each)
        needed = max(self.required_trials, pair.needed(self.required_trials))
        rounds = pair.rounds(needed)
        if rounds is None or rounds >= self.rounds:
            return all_lack(task.n_classes, f"{needed} answers per patch; raise search.most_trials, retests or rounds")
        return short_of(others(task.image_classes, task.n_classes), needed, "search")

    def largest_area(self, image_shape: tuple[int, int, int]) -> int:
        """The pixels of the largest patch on images of this shape, (C, H, W)."""
        return min(self.largest_side, *image_shape[1:]) ** 2

    def breadth(self, task: Task) -> Breadth:
        """See `Broad`."""
        return Breadth(self.rounds * self.fresh, "patches", "search.rounds or fresh")

    @property
    def only_sought(self) -> str:
        """See `Limited`."""
        return f"random patch of up to {self.largest_side}x{self.largest_side} pixels"


class RandomPatch:
    """A search by random patches for all classes at once; satisfies `Search`.

    Source: our own prototype race of random patches. Simpler than that: no mutation, no restarts, no scores of clean
    images (the baseline of an image is shrunk towards the class's mean instead), and patches that fail on unseen images
    are kept.
    """

    def __init__(self, config: RandomPatchConfig, task: Task, seed: int) -> None:
        self._config, self._task, self._seed, self._rounds = config, task, seed, 0
        self._guard = AskTell(task.n_classes, len(task.image_classes))
        self._pool: PatchPool | None = None
        self._open: tuple[PatchPool, IntArray] | None = None
        self._baselines = Baselines(task, PRIOR_WEIGHT)

    @property
    def rounds(self) -> int:
        return self._rounds

    def ask(self) -> Proposal | None:
        """Fresh patches on one image each, and the best pairs so far on images where their patch was not tried."""
        if self._rounds >= self._config.rounds:
            return None
        rng = stream(self._seed, "patch", self._rounds)
        pool = PatchPool.untried(self._fresh(rng), self._task)
        images = rng.integers(len(self._task.image_classes), size=len(pool))
        asked = np.column_stack([np.arange(len(pool)), images]).astype(np.int32)
        if self._pool is not None:
            again = self._retests(self._pool, rng)
            asked = np.concatenate([again, asked + np.array([len(self._pool), 0], dtype=np.int32)])
            pool = self._pool.joined(pool)
        rows, candidates = np.unique(asked[:, 0], return_inverse=True)
        pairs = np.column_stack([candidates, asked[:, 1]]).astype(np.int32)
        proposal = self._guard.asked(Proposal(Triggers.of(list(pool.candidates[rows])), pairs))
        self._open = pool, asked
        return proposal

    def tell(self, evidence: Evidence) -> None:
        self._guard.told(evidence)
        assert self._open is not None
        pool, asked = self._open
        gains = margins(evidence.score)
        gains -= self._baselines.updated(asked[:, 1], gains, evidence.valid)
        pool = pool.updated(asked, evidence, gains)
        self._pool, self._open = pool.take(self._kept(pool)), None
        self._rounds += 1

    def results(self) -> tuple[ClassResult, ...]:
        return tuple(self._result(c) for c in range(self._task.n_classes))

    def state(self) -> str:
        """The round, the number of patches kept, the number of pairs that work, the best pair's class, patch size in
        pixels and success rate (see `RandomPatchConfig`), and a checksum."""
        if self._pool is None:
            return json.dumps({"round": self._rounds})
        working = int(self._works(self._pool).sum())
        counts = {"round": self._rounds, "patches": len(self._pool), "working": working}
        return json.dumps(counts | self._best(self._pool) | {"digest": zlib.crc32(self._pool.sums.tobytes())})

    def _best(self, pool: PatchPool) -> dict[str, float]:
        ranks = self._ranks(pool)
        row, target = divmod(int(ranks.argmax()), ranks.shape[1])
        size, rate = pool.candidates[row].mask_size, pool.rates()[row, target]
        return {"best_class": target, "best_patch_size": float(size), "best_success_rate": float(rate)}

    def _result(self, target: int) -> ClassResult:
        if self._pool is not None:
            row = int(self._ranks(self._pool)[:, target].argmax())
            if self._pool.trials[row, target]:
                works = bool(self._works(self._pool)[row, target])
                return self._pool.result(target, row, self._pool.candidates[row], works)
        return untried(target, self._task.image_shape)

    def _works(self, pool: PatchPool) -> BoolArray:
        return (pool.trials >= self._config.required_trials) & (pool.rates() >= self._config.required_success)

    def _ranks(self, pool: PatchPool) -> NDArray[np.float64]:
        """Values that rank every working pair above all others, since margins differ by at most 9."""
        return pool.values() + 100.0 * self._works(pool)

    def _kept(self, pool: PatchPool) -> NDArray[np.intp]:
        """The patches with the best pairs and the best patch of each class, in their previous order."""
        best = np.argsort(-pool.values().max(axis=1), kind="stable")[: self._config.keep]
        return np.union1d(best, self._ranks(pool).argmax(axis=0))

    def _retests(self, pool: PatchPool, rng: np.random.Generator) -> IntArray:
        """Patch and image (N, 2) for the best pairs with fewer than `most_trials` answers, each patch once."""
        values = np.where(pool.trials < self._config.most_trials, pool.values(), -np.inf)
        order = np.argsort(-values, axis=None, kind="stable")
        asked: dict[int, list[int]] = {}
        for row, target in zip(*np.unravel_index(order, values.shape), strict=True):
            left = self._config.retests - sum(map(len, asked.values()))
            if left < 1 or np.isneginf(values[row, target]):
                break
            unseen = np.flatnonzero(~pool.seen[row] & (self._task.image_classes != target))
            if row not in asked and len(unseen):
                asked[row] = list(rng.permutation(unseen)[: min(left, self._config.retest_images)])
        pairs = [(row, image) for row, images in asked.items() for image in images]
        return np.array(pairs, dtype=np.int32).reshape(-1, 2)

    def _fresh(self, rng: np.random.Generator) -> list[Trigger]:
        shape, side = self._task.image_shape, self._config.largest_side
        return [random_patch(rng, shape, side) for _ in range(self._config.fresh)]
