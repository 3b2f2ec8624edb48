"""Simulated annealing over patches, one chain per class, following the public summaries of DeBackdoor.

Source: Popovic et al., DeBackdoor, USENIX Security 2025; we read its abstract and a review, not the paper. From there:
only forward passes are used, the position, size and colours of a trigger template are annealed for one target class
after another, and the objective is a smoothed success rate. Differences: there is one template, a rectangle, where the
published method has several families of triggers; the objective uses the margin of log-probabilities, which still ranks
patches where all probabilities are close to 0; only all-to-one targets are considered; the schedule, the moves and the
verdict are ours.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simkit.errors import ConfigError
from simkit.search.contract import AskTell, Evidence, Proposal, Search, Task
from simkit.search.lengths import Breadth
from simkit.search.needs import Lacking, others, short_of
from simkit.search.patch_moves import Bounds, Patch
from simkit.search.patches import large_patch_warnings, margins, untried
from simkit.seeding import stream
from simkit.triggers import IntArray, Triggers
from simkit.verdict import ClassResult


@dataclass(frozen=True)
class AnnealingConfig:
    """The settings of a search by simulated annealing."""

    # Chosen on the zoo `cifar10-tune`: of five settings of images, draws and steps, the one with the fewest queries
    # among those that detected each of its six backdoored victims in all three scans. In three more scans all were
    # detected within 22,000 queries, hence three chains: 24,000 queries for ten classes. Steepness and temperatures had
    # no clear effect there; required_success was not varied.
    images: int = 8
    """Images of other classes on which every patch of a class is tried; they stay the same during the search."""
    draws: int = 50
    """Random patches at the start of a chain, which continues from the best of them."""
    steps: int = 50
    """Annealing moves per chain after the random patches."""
    chains: int = 3
    """Chains per class, one after another; the best patch of all chains is reported."""
    largest_side: int = 4  # as for random patches, whose rule is used here too
    """Largest side of a patch, in pixels."""
    steepness: float = 1.0
    """Steepness L of the smoothed success rate 1 / (1 + exp(-L * margin))."""
    first_temperature: float = 0.05
    """Temperature at the first move of a chain; the objective lies in [0, 1]."""
    last_temperature: float = 0.002
    """Temperature at the last move of a chain."""
    required_success: float = 0.75
    """Success rate that a patch must reach to count as a trigger."""

    def __post_init__(self) -> None:
        if min(self.images, self.draws, self.steps, self.chains, self.largest_side) < 1:
            raise ConfigError("images, draws, steps, chains and largest_side of annealing must be 1 or more")
        if self.steepness <= 0 or not 0 < self.required_success <= 1:
            raise ConfigError("steepness must be above 0, required_success in (0, 1]")
        if not 0 < self.last_temperature <= self.first_temperature:
            raise ConfigError("temperatures must be above 0, and last_temperature at most first_temperature")

    def full_length(self, n_classes: int) -> int:
        """See `Bounded`."""
        return n_classes * self.chains * self.length * self.images

    def search(self, task: Task, seed: int) -> Search:
        """See `SearchConfig`."""
        return Annealing(self, task, seed)

    def warnings(self, image_shape: tuple[int, int, int], *, alone: bool) -> tuple[str, ...]:
        """See `Cautious`."""
        return large_patch_warnings(self.largest_side, image_shape)

    def lacking(self, task: Task) -> Lacking:
        """See `Demanding`: one image is enough for a chain."""
        return short_of(others(task.image_classes, task.n_classes), 1, "search")

    def largest_area(self, image_shape: tuple[int, int, int]) -> int:
        """The pixels of the largest patch on images of this shape, (C, H, W)."""
        return min(self.largest_side, *image_shape[1:]) ** 2

    def breadth(self, task: Task) -> Breadth:
        """See `Broad`."""
        return Breadth(self.chains * self.length, "patches for each class", "search.draws, steps or chains")

    @property
    def only_sought(self) -> str:
        """See `Limited`."""
        return f"annealed patch of up to {self.largest_side}x{self.largest_side} pixels"

    @property
    def length(self) -> int:
        """Number of patches that one chain tries."""
        return self.draws + self.steps

    def temperature(self, step: int) -> float:
        """The temperature at move 0..steps - 1 of a chain: geometric cooling from the first to the last temperature."""
        share = step / max(self.steps - 1, 1)
        return float(self.first_temperature ** (1.0 - share) * self.last_temperature**share)


def smoothed_success(ahead: NDArray[np.float64], steepness: float) -> NDArray[np.float64]:
    """1 / (1 + exp(-L * delta)) for margins delta of the target class, of any shape; 0.5 at a tie.

    With label-only answers delta is 1 or -1, and for a large L the value approaches the hit (0 or 1).
    """
    smoothed: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-steepness * ahead))
    return smoothed


def accepts(gain: float, temperature: float, uniform: float) -> bool:
    """The Metropolis rule for maximisation: accept a gain always, a loss with probability exp(gain / T)."""
    return gain >= 0.0 or uniform < float(np.exp(gain / temperature))


@dataclass(frozen=True, eq=False)
class _Seen:
    """A patch, its objective, and its success rate on the class's images."""

    patch: Patch
    value: float
    rate: float


class Annealing:
    """One chain per class. A round is one move of every chain in one proposal. Satisfies `Search`."""

    def __init__(self, config: AnnealingConfig, task: Task, seed: int) -> None:
        self._config, self._task, self._seed, self._rounds = config, task, seed, 0
        self._bounds = Bounds(task.image_shape, config.largest_side)
        self._images = {c: images for c in range(task.n_classes) if len(images := self._chosen(c))}
        self._guard = AskTell(task.n_classes, len(task.image_classes))
        self._current: dict[int, _Seen] = {}
        self._best: dict[int, _Seen] = {}
        self._moved: dict[int, Patch] = {}

    @property
    def rounds(self) -> int:
        return self._rounds

    def ask(self) -> Proposal | None:
        """One move of every class's chain, each on its class's images."""
        if self._rounds >= self._config.length * self._config.chains:
            return None
        moved = {c: self._move(c) for c in self._images}
        pairs = [np.column_stack([np.full_like(i, row), i]) for row, i in enumerate(self._images.values())]
        triggers = Triggers.of([patch.trigger(self._task.image_shape) for patch in moved.values()])
        proposal = self._guard.asked(Proposal(triggers, np.concatenate(pairs)))
        self._moved = moved
        return proposal

    def tell(self, evidence: Evidence) -> None:
        rows = self._guard.told(evidence).pairs[:, 0]
        answers, targets = np.arange(len(rows)), np.array(list(self._moved))[rows]
        values = _means(smoothed_success(margins(evidence.score), self._config.steepness)[answers, targets], rows)
        rates = _means(evidence.hit[answers, targets], rows)
        uniform = stream(self._seed, "annealing", "accept", self._rounds).random(len(values))
        for row, (target, patch) in enumerate(self._moved.items()):
            seen = _Seen(patch, float(values[row]), float(rates[row]))
            if self._goes_on_from(seen, target, uniform[row]):
                self._current[target] = seen
            if target not in self._best or self._rank(seen) > self._rank(self._best[target]):
                self._best[target] = seen
        self._rounds += 1

    def results(self) -> tuple[ClassResult, ...]:
        return tuple(self._result(c) for c in range(self._task.n_classes))

    def state(self) -> str:
        """The round, its step in the chain, the number of classes with a working patch, the class, objective and
        success
        rate of the best patch, and a checksum of the state of all chains."""
        position = {"round": self._rounds, "chain_step": self._step}
        if not self._best:
            return json.dumps(position)
        target, best = max(self._best.items(), key=lambda entry: self._rank(entry[1]))
        working = sum(self._works(seen) for seen in self._best.values())
        progress = {"working": working, "best_class": target, "best_value": best.value, "best_success_rate": best.rate}
        values = np.array([seen.value for seen in self._current.values()])
        return json.dumps(position | progress | {"digest": zlib.crc32(values.tobytes())})

    def _chosen(self, target: int) -> IntArray:
        usable = np.flatnonzero(self._task.image_classes != target).astype(np.int32)
        rng = stream(self._seed, "annealing", "images", target)
        return rng.choice(usable, size=min(self._config.images, len(usable)), replace=False)

    @property
    def _step(self) -> int:
        """The step of all chains, which run in parallel: negative while patches are drawn, then the number of the
        move."""
        return self._rounds % self._config.length - self._config.draws

    def _goes_on_from(self, seen: _Seen, target: int, uniform: float) -> bool:
        if self._step == -self._config.draws:
            return True
        gain = seen.value - self._current[target].value
        return gain > 0.0 if self._step < 0 else accepts(gain, self._config.temperature(self._step), uniform)

    def _move(self, target: int) -> Patch:
        rng = stream(self._seed, "annealing", target, self._rounds)
        if self._step < 0:
            return self._bounds.random(rng)
        return self._bounds.neighbour(self._current[target].patch, rng)

    def _works(self, seen: _Seen) -> bool:
        return seen.rate >= self._config.required_success

    def _rank(self, seen: _Seen) -> tuple[bool, float]:
        return self._works(seen), seen.value

    def _result(self, target: int) -> ClassResult:
        seen = self._best.get(target)
        if seen is None:
            return untried(target, self._task.image_shape)
        trigger = seen.patch.trigger(self._task.image_shape)
        return ClassResult(target, trigger, trigger.mask_size, seen.rate, censored=not self._works(seen))


def _means(values: NDArray[np.float64] | NDArray[np.bool_], rows: IntArray) -> NDArray[np.float64]:
    """The mean of `values` (N,) over each of the `rows` (N,) 0..K-1, (K,)."""
    means: NDArray[np.float64] = np.bincount(rows, weights=values) / np.bincount(rows)
    return means
