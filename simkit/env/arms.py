"""The arms of the environment: each spends its next chunk of queries on an oracle and reports its progress.

An arm is a function of the model, the images, its settings and the seed, and not of the other arms, since each has its
own evaluator. The order in which arms are pulled therefore does not change their results.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from simkit.env.config import ArmsConfig
from simkit.errors import DataError
from simkit.search.b3d import B3D
from simkit.search.confirm import Confirmer
from simkit.search.contract import Search, Task
from simkit.search.evaluator import Evaluator
from simkit.search.images import ScanImages, class_of_all
from simkit.search.race import Race
from simkit.search.recognition import at_chance
from simkit.verdict import ClassResult, is_chance

Row: TypeAlias = NDArray[np.float64]


class Field(IntEnum):
    """The columns of an arm's progress. A trigger's size is a share of the image, in [0, 1].

    QUERIES: queries spent by the arm so far. ROUNDS: rounds of its search. SIZE, SUCCESS, WORKS: size and success rate
    of its best trigger on the checked images, and whether it reached the required success rate; 1, 0 and 0 before a
    check. EXPECTED, LOSS: mean mask size of the search distribution, and mean cross-entropy of the last step in nats; 0
    for the shared search. HITS, TRIALS: results of the last trigger that was tried on unseen images. FOUND: 1 if unseen
    images confirmed a trigger. OVER: 1 if there is no further chunk. NAMED: class of the best pair of the shared
    search, otherwise -1.
    """

    QUERIES = 0
    ROUNDS = 1
    SIZE = 2
    SUCCESS = 3
    WORKS = 4
    EXPECTED = 5
    LOSS = 6
    HITS = 7
    TRIALS = 8
    FOUND = 9
    OVER = 10
    NAMED = 11


@dataclass(frozen=True, eq=False)
class Pulled:
    """The progress of an arm after its last chunk. gains: float64 (T,), see `Race.gains`; None for a class arm."""

    row: Row
    gains: Row | None = None


Ask: TypeAlias = Callable[[], Evaluator]
"""Makes a new evaluator of the model, with its own count of queries."""


@dataclass(frozen=True, eq=False)
class Bench:
    """One model, and what arms need to search it. Raises DataError for images that cannot be searched."""

    ask: Ask
    n_classes: int
    images: ScanImages
    config: ArmsConfig
    seed: int

    def __post_init__(self) -> None:
        if not (self.images.search.labelled and self.images.verify.labelled):
            raise DataError(f"{self.images.search.name}: images without labels; arms need a class for each")
        if class_of_all(self.images.search) is not None:
            raise DataError(f"{self.images.search.name}: all of one class; give images of two or more")

    @property
    def task(self) -> Task:
        """The task of the searches."""
        return Task(self.images.search.image_shape, self.n_classes, self.images.search.labels)

    def arm(self, number: int) -> Arm:
        """A new arm of class `number`, or the shared arm if `number` is the number of classes."""
        return SharedArm(self) if number == self.n_classes else ClassArm(self, number)

    def check(self) -> tuple[int, float]:
        """Queries and clean accuracy of the first check. Raises DataError if the accuracy is at chance."""
        evaluator, images = self.ask(), self.images.search
        first = np.arange(min(self.config.check_images, len(images)), dtype=np.int32)
        hit = evaluator.clean(images, first, "check").hit
        correct = int(hit[first, images.labels[first]].sum())
        if is_chance(correct, len(first), self.n_classes):
            answered = np.where(hit.any(axis=1), hit.argmax(axis=1), -1).astype(np.int32)
            raise DataError(f"{images.name}: {at_chance(images.labels[first], answered)}")
        return evaluator.queries, correct / len(first)


class Arm(Protocol):
    """One way to spend queries on a model."""

    def pull(self) -> Pulled:
        """Spend the next chunk; not allowed after the arm has ended. Raises Refused, NotFinite."""
        ...


class _Work:
    """What both kinds of arm share: a search, its own evaluator, and unseen images to confirm triggers."""

    def __init__(self, bench: Bench, search: Search) -> None:
        self._search, self._images, config = search, bench.images.search, bench.config
        self._evaluator, unseen = bench.ask(), bench.images.verify
        self._of_patches = Confirmer(self._evaluator, unseen, config.patch_test, config.batch)
        self._of_larger = Confirmer(self._evaluator, unseen, config.strict_test, config.batch)
        self._patch = config.shared.largest_area(bench.images.search.image_shape)
        self._tried = (0, 0)
        self.found = False

    @property
    def queries(self) -> int:
        return self._evaluator.queries

    @property
    def pixels(self) -> int:
        _, height, width = self._images.image_shape
        return height * width

    def step(self) -> bool:
        """One ask and tell; False if the search has ended."""
        proposal = self._search.ask()
        if proposal is None:
            return False
        self._search.tell(self._evaluator.evaluate(self._images, proposal, "search", self._search.state()))
        return True

    def confirm(self, result: ClassResult) -> bool:
        """Try this trigger on unseen images; False if it was tried before, or if there are none."""
        confirmer = self._of_patches if result.mask_size <= self._patch else self._of_larger
        if confirmer.trial(result).trials:
            return False
        self.found = confirmer.works(result)
        trial = confirmer.trial(result)
        self._tried = (trial.hits, trial.trials) if trial.trials else self._tried
        return trial.trials > 0

    def pulled(
        self, best: ClassResult | None, over: bool, state: Mapping[str, Any], gains: Row | None = None
    ) -> Pulled:
        """The arm's progress. best: None or without a rate before a check. state: of a B3D search, otherwise empty."""
        size, success, works = 1.0, 0.0, False
        if best is not None and best.success_rate is not None:
            size, success, works = best.mask_size / self.pixels, best.success_rate, not best.censored
        named = -1 if gains is None or best is None else best.target_class
        looked = (self.queries, self._search.rounds, size, success, works)
        masks = state.get("expected_mask_size", 0.0) / self.pixels, state.get("loss", 0.0)
        return Pulled(np.array([*looked, *masks, *self._tried, self.found, over, named], dtype=np.float64), gains)


class ClassArm:
    """B3D of a single class. A small working trigger is tried on unseen images at once."""

    def __init__(self, bench: Bench, target: int) -> None:
        self._config, self._target = bench.config, target
        self._search = B3D(bench.config.classes, bench.task, bench.seed, only=(target,))
        self._work = _Work(bench, self._search)

    def pull(self) -> Pulled:
        """Run until the next check, and try a new small working trigger on unseen images."""
        every = self._config.classes.check_every
        while self._work.step() and self._search.rounds % every:
            pass
        result = self._search.results()[self._target]
        if not result.censored and result.mask_size <= max(self._config.largest_share * self._work.pixels, 1.0):
            self._work.confirm(result)
        over = self._work.found or self._search.rounds + every > self._config.classes.steps
        return self._work.pulled(result, over, json.loads(self._search.state()))


class SharedArm:
    """The race for all classes. A trigger that passes the race's own test is tried on unseen images at once."""

    def __init__(self, bench: Bench) -> None:
        self._chunk = bench.config.shared_chunk
        self._race = Race(bench.config.shared, bench.task, bench.seed)
        self._work = _Work(bench, self._race)

    def pull(self) -> Pulled:
        """Run rounds until a chunk is spent or unseen images were queried."""
        until, asked = self._work.queries + self._chunk, False
        while not asked and self._work.queries < until and self._work.step():
            passed = (c for c in self._race.results() if not c.censored)
            asked = any(self._work.confirm(c) for c in passed)
        gains = self._race.gains()
        best = self._race.results()[int(gains.argmax())] if np.isfinite(gains).any() else None
        return self._work.pulled(best, self._work.found or self._race.over, {}, gains)
