"""The race: collages of patches compete for all classes at once; the best are mutated, halved and tested.

Source: our own prototype race of patches, from which come: every answer is evidence about every class, margins above a
baseline per image, few images first and more for the best, mutation, restarts. New: collages of several patches that
are halved, and a sequential test on images that are not used for ranking.
"""

from __future__ import annotations

import json
import math
import zlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from simkit.errors import ConfigError
from simkit.search.collages import Breeder, Breeding, Collage
from simkit.search.contract import AskTell, BoolArray, Evidence, Proposal, Search, Task
from simkit.search.lengths import Breadth, Retests, Rounds
from simkit.search.needs import Lacking, all_lack, others, ranked_and_tested, short_of
from simkit.search.pair_trial import Pair, PairTrial, ranking_and_testing, speaking
from simkit.search.patches import Baselines, PatchPool, margins, ranked, small_patch_warnings, untried
from simkit.seeding import stream
from simkit.triggers import IntArray, Triggers
from simkit.verdict import ClassResult, SequentialTest

REFUTED = 2.0
"""Penalty on the value of a tested pair, in nats, so that its children continue from a lower rank (ours)."""

_RELIABLE = 3
"""Number of answers from which a pair's mean gain is used."""


@dataclass(frozen=True)
class RaceConfig:
    """The settings of a race of collages of patches for all classes at once."""

    known_as: ClassVar[str] = "simkit.search.race_config.RaceConfig"  # in run keys and ledgers, wherever it lives

    # Chosen on tune victims (the zoos cifar10-tune, gtsrb-tune and cifar10-wide-tune) among about sixty settings by the
    # mean number of queries, where many were similar; values marked so are the prototype's. The early end for clean
    # models, from 1,200 queries below 0.8 by scores or 0.21 by labels, was chosen on the same victims and on the clean
    # ones of cifar10-clean-calibrate and gtsrb-clean-calibrate. It would have ended 1 of 87 successful scans (patches
    # of up to 6x6 pixels) too early, and half of the scans of clean models ended by 1,224 queries. It is off by
    # default, since a backdoored model that is called clean costs more than 1,600 queries.
    first: int = 100
    """Fresh collages at the start, each tried on one image."""
    fresh: int = 4
    """Fresh collages per round."""
    children: int = 12
    """Children of the best pairs of collage and class per round."""
    parents: int = 5
    """Number of best pairs that have children."""
    retests: int = 12
    """Further queries per round for the best pairs."""
    retest_images: int = 3
    """Most further queries per pair and round."""
    patches: int = 3
    """Patches in a fresh collage."""
    largest_share: float = 1 / 64  # the prototype's 4x4 of 32x32 pixels
    """Share of the image's pixels that a collage may cover to pass; it also bounds a single patch."""
    size_penalty: float = 0.4
    """Penalty on the value of a larger collage, in nats per multiple of the allowed area."""
    shrinkage: float = 0.1
    """Number of answers of value 0 towards which a value is shrunk."""
    prior_weight: float = 1.0
    """Weight of the class's mean in the baseline of an image, in answers."""
    required_trials: int = 5
    """Answers that a pair needs before it is tested."""
    required_success: float = 0.65  # prototype
    """Rate (hits + 0.5) / (trials + 1) that a pair needs before it is tested."""
    test: SequentialTest = field(default_factory=lambda: SequentialTest(alpha=0.01, beta=0.01))
    """The race's own test; a pair that passes is reported and then confirmed on unseen images."""
    test_share: float = 0.25
    """Share of the search images that is kept for the test and not used for ranking."""
    test_batch: int = 4
    """Images per round of the test."""
    most_trials: int = 32  # prototype
    """Answers after which a pair gets no further retests."""
    tint_noise: float = 0.5
    """Standard deviation of a change of tint; colours lie in [0, 1]."""
    pixel_noise: float = 0.375  # prototype
    """Standard deviation of noise on single pixels."""
    part: float = 0.95
    """Probability that the child of a collage with several patches is a random half of it."""
    keep: int = 200
    """Number of collages that are kept."""
    restart: int = 1500  # prototype
    """Queries after which all collages are dropped; the baselines are kept."""
    queries: int = 2800  # with the check and the confirmation, the prototype's 3,000
    """Query budget of the race."""
    clean_from: int | None = None
    """Queries from which the race may end early for a clean model; None for no early end."""
    clean_value: float = 0.8
    """The race ends early if the best mean gain is below clean_value * ln(classes), in nats, over clean_rounds."""
    clean_rounds: int = 15
    """Rounds over which the best mean gain (of pairs with three answers or more) is averaged for the early end."""

    def __post_init__(self) -> None:
        least_one = (self.first, self.parents, self.retest_images, self.patches)
        more = (self.required_trials, self.test_batch, self.keep, self.restart, self.queries)
        if min(*least_one, *more) < 1 or min(self.fresh, self.children, self.retests) < 0:
            raise ConfigError("counts of a race must be 1 or more; fresh, children and retests 0 or more")
        if self.fresh + self.children < 1:
            raise ConfigError("a race needs new collages in every round: fresh or children")
        if not 0 < self.largest_share <= 1:
            raise ConfigError(f"largest_share is {self.largest_share}; give a share of the image in (0, 1]")
        if self.most_trials < self.required_trials:
            raise ConfigError(f"most_trials {self.most_trials} is below required_trials {self.required_trials}")
        if self.clean_rounds < 1 or (self.clean_from is not None and self.clean_from < 1):
            raise ConfigError("clean_rounds and clean_from of a race must be 1 or more, clean_from may be None")
        if not 0 < self.required_success < 1 or not 0 < self.test_share < 1 or not 0 <= self.part <= 1:
            raise ConfigError("required_success and test_share of a race must lie in (0, 1), part in [0, 1]")
        if min(self.size_penalty, self.prior_weight, self.tint_noise, self.pixel_noise) < 0 or self.shrinkage <= 0:
            raise ConfigError("size_penalty, prior_weight and noises of a race must be 0 or more, shrinkage above 0")

    def full_length(self, n_classes: int) -> int:
        """See `Bounded`."""
        return self.queries

    def search(self, task: Task, seed: int) -> Search:
        """See `SearchConfig`. Raises ConfigError with fewer than two search images."""
        return Race(self, task, seed)

    def warnings(self, image_shape: tuple[int, int, int], *, alone: bool) -> tuple[str, ...]:
        """See `Cautious`: a race without a later stage warns if it only looks for patches smaller than 2x2."""
        return small_patch_warnings(self.largest_area(image_shape), image_shape) if alone else ()

    def lacking(self, task: Task) -> Lacking:
        """See `Demanding`."""
        each = min(self.retests, self.retest_images)
        pair = Retests(self.required_trials, self.required_success, self.most_trials, each)
        ranked, tested = ranked_and_tested(task, self.test_share)
        needed = [pair.needed(int(there)) for there in ranked]
        if short := self._lengths.short(pair, max(needed), "collage"):
            return all_lack(task.n_classes, short)
        return short_of(tested, 1, "search") | short_of(ranked, np.array(needed), "search")

    def breadth(self, task: Task) -> Breadth:
        """See `Broad`."""
        return self._lengths.breadth("collages")

    @property
    def _lengths(self) -> Rounds:
        new, again = self.fresh + self.children, min(self.retests, self.retest_images * min(self.first, self.keep))
        return Rounds(self.first, new, again, self.queries, self.restart, self.clean_from, self.clean_rounds)

    def largest_area(self, image_shape: tuple[int, int, int]) -> int:
        """Number of pixels that a collage may cover to pass, on images of this shape, (C, H, W)."""
        return max(1, int(self.largest_share * image_shape[1] * image_shape[2]))

    def breeding(self, image_shape: tuple[int, int, int]) -> Breeding:
        """How collages for images of this shape, (C, H, W), are drawn and mutated."""
        side = math.isqrt(self.largest_area(image_shape))
        return Breeding(self.patches, side, self.part, self.tint_noise, self.pixel_noise)


class Race:
    """A race of collages for all classes; satisfies `Search`.

    A class is censored until one of its pairs passes the race's own test; its result is then the pair that passed last.
    """

    def __init__(self, config: RaceConfig, task: Task, seed: int) -> None:
        self._config, self._task, self._seed = config, task, seed
        if (images := len(task.image_classes)) < 2:
            raise ConfigError("a race needs two search images or more, to rank and to test; raise search_images")
        self._ranking, self._testing = ranking_and_testing(images, config.test_share)
        self._guard = AskTell(task.n_classes, images)
        self._baselines = Baselines(task, config.prior_weight)
        self._breeder = Breeder(config.breeding(task.image_shape), task.image_shape)
        self._largest_area = config.largest_area(task.image_shape)
        # a class with fewer images of other classes needs all of them
        there = others(task.image_classes[self._ranking], task.n_classes)
        self._required_trials = np.clip(there, 1, config.required_trials)
        self._passed: dict[int, ClassResult] = {}
        self._rounds = self._queries = self._since_restart = 0
        self._pool, self._settled = self._begun()
        self._open: tuple[PatchPool, IntArray] | None = None
        self._test: PairTrial | None = None
        self._peaks: deque[float] = deque(maxlen=config.clean_rounds)

    @property
    def rounds(self) -> int:
        return self._rounds

    @property
    def over(self) -> bool:
        """Whether the race has ended."""
        return self._test is None and (self._queries >= self._config.queries or self._is_hopeless())

    def ask(self) -> Proposal | None:
        """The pair under test on a few images; without a test the best pairs, their children, and fresh collages."""
        if (test := self._test) is not None:
            tried = self._triggers(self._pool, [test.pair[0]])
            return self._guard.asked(Proposal(tried, test.pairs(self._config.test_batch)))
        if self.over:
            return None
        rng = stream(self._seed, "race", self._rounds)
        new = PatchPool.untried(self._fresh(rng) + self._children(rng), self._task)
        again, pool = self._retests(rng), self._pool.joined(new)
        images = rng.choice(self._ranking, size=len(new))
        once = np.column_stack([np.arange(len(self._pool), len(pool)), images])
        asked = np.concatenate([again, once]).astype(np.int32)
        rows, candidates = np.unique(asked[:, 0], return_inverse=True)
        pairs = np.column_stack([candidates, asked[:, 1]]).astype(np.int32)
        proposal = self._guard.asked(Proposal(self._triggers(pool, rows), pairs))
        self._open = pool, asked
        return proposal

    def tell(self, evidence: Evidence) -> None:
        self._guard.told(evidence)
        self._queries += len(evidence.hit)
        self._since_restart += len(evidence.hit)
        self._rounds += 1
        if self._test is not None:
            self._test = self._after(self._test, evidence)
        else:
            self._update(evidence)
        if self._test is None:
            self._test = self._next_test()
        if self._test is None and self._since_restart >= self._config.restart:
            self._since_restart = 0
            self._peaks.clear()
            self._pool, self._settled = self._begun()

    def results(self) -> tuple[ClassResult, ...]:
        values = self._values(self._pool, self._settled)
        return tuple(self._result(c, values[:, c]) for c in range(self._task.n_classes))

    def gains(self) -> NDArray[np.float64]:
        """The best mean gain of each class, (T,), in nats, of pairs with three answers or more; -inf if none has."""
        values = np.where(self._pool.trials >= _RELIABLE, self._pool.values(), -np.inf)
        return np.asarray(values.max(axis=0, initial=-np.inf))

    def state(self) -> str:
        """The round, the number of collages kept, the best pair's class, patch size in pixels and success rate
        (hits + 0.5) / (trials + 1), the class under test or None, and a checksum."""
        summary: dict[str, float | None] = {"round": self._rounds, "patches": len(self._pool)}
        if len(self._pool):
            row, target = self._best()
            size, rate = self._pool.candidates[row].area, float(self._pool.rates()[row, target])
            summary |= {"best_class": target, "best_patch_size": size, "best_success_rate": rate}
        summary["tested_class"] = None if self._test is None else self._test.pair[1]
        return json.dumps(summary | {"digest": zlib.crc32(self._pool.sums.tobytes())})

    def _begun(self) -> tuple[PatchPool, BoolArray]:
        """An empty pool, and which of its pairs have been tested."""
        return PatchPool.untried([], self._task), np.zeros((0, self._task.n_classes), dtype=np.bool_)

    def _triggers(self, pool: PatchPool, rows: Iterable[int]) -> Triggers:
        return Triggers.of([pool.candidates[row].trigger(self._task.image_shape) for row in rows])

    def _update(self, evidence: Evidence) -> None:
        assert self._open is not None
        (pool, asked), self._open = self._open, None
        gains = margins(evidence.score)
        gains -= self._baselines.updated(asked[:, 1], gains, evidence.valid)
        pool = pool.updated(asked, evidence, gains)
        settled = np.zeros(pool.trials.shape, dtype=np.bool_)
        settled[: len(self._settled)] = self._settled
        kept = np.sort(np.argsort(-self._values(pool, settled).max(axis=1), kind="stable")[: self._config.keep])
        self._pool, self._settled = pool.take(kept), settled[kept]
        reliable = self._pool.values()[self._pool.trials >= _RELIABLE]
        if len(reliable):
            self._peaks.append(float(reliable.max()))

    def _is_hopeless(self) -> bool:
        """Whether the best mean gains of the last rounds are as low as those of clean models."""
        if self._config.clean_from is None or self._queries < self._config.clean_from:
            return False
        needed = self._config.clean_value * math.log(self._task.n_classes)
        return len(self._peaks) == self._config.clean_rounds and float(np.mean(self._peaks)) < needed

    def _values(self, pool: PatchPool, settled: BoolArray) -> NDArray[np.float64]:
        """The value by which a pair is ranked, (K, T): its mean gain, minus penalties for its size and after a test."""
        areas = np.array([collage.area for collage in pool.candidates], dtype=np.float64)
        excess = np.maximum(areas / self._largest_area - 1.0, 0.0)[:, None]
        return np.asarray(pool.values(self._config.shrinkage) - self._config.size_penalty * excess - REFUTED * settled)

    def _best(self) -> Pair:
        values = self._values(self._pool, self._settled)
        row, target = divmod(int(values.argmax()), values.shape[1])
        return row, target

    def _fresh(self, rng: np.random.Generator) -> list[Collage]:
        return [self._breeder.fresh(rng) for _ in range(self._config.fresh if self._pool else self._config.first)]

    def _children(self, rng: np.random.Generator) -> list[Collage]:
        """Children of the best pairs in turn, which may copy colours of other parents of the same class."""
        pairs = ranked(self._values(self._pool, self._settled))[: self._config.parents]
        children = []
        for number in range(self._config.children if pairs else 0):
            row, target = pairs[number % len(pairs)]
            mates = [self._pool.candidates[other] for other, theirs in pairs if theirs == target and other != row]
            children.append(self._breeder.child(self._pool.candidates[row], mates, rng))
        return children

    def _retests(self, rng: np.random.Generator) -> IntArray:
        """Collage and image (N, 2) for the best pairs with fewer than `most_trials` answers, each collage once."""
        ranked_out = self._pool.trials >= self._config.most_trials
        asked: list[Pair] = []
        for row, target in ranked(np.where(ranked_out, -np.inf, self._values(self._pool, self._settled))):
            left = self._config.retests - len(asked)
            if left < 1:
                break
            there = speaking(self._task, self._ranking, target)
            chosen = rng.permutation(there[~self._pool.seen[row, there]])[: min(left, self._config.retest_images)]
            asked += [(row, int(image)) for image in chosen]
        return np.array(asked, dtype=np.int32).reshape(-1, 2)

    def _next_test(self) -> PairTrial | None:
        """The best pair that is small enough, has a high enough success rate, and was not tested yet."""
        config, pool = self._config, self._pool
        small = np.array([collage.area <= self._largest_area for collage in pool.candidates], dtype=np.bool_)
        ripe = (pool.trials >= self._required_trials) & (pool.rates() >= config.required_success)
        ripe &= small[:, None] & ~self._settled
        ripe[:, [not len(speaking(self._task, self._testing, c)) for c in range(ripe.shape[1])]] = False
        if not ripe.any():
            return None
        values = np.where(ripe, self._values(pool, self._settled), -np.inf)
        row, target = divmod(int(values.argmax()), values.shape[1])
        return PairTrial((row, target), speaking(self._task, self._testing, target))

    def _after(self, test: PairTrial, evidence: Evidence) -> PairTrial | None:
        """The test after these answers, None once it is decided."""
        test, (row, target) = test.after(evidence), test.pair
        passes = test.passes(self._config.test)
        if passes is None:
            return test
        self._settled[row, target] = True
        if passes:
            trigger, rate = self._pool.candidates[row].trigger(self._task.image_shape), test.hits / test.trials
            self._passed[target] = ClassResult(target, trigger, trigger.mask_size, rate, censored=False)
        return None

    def _result(self, target: int, values: NDArray[np.float64]) -> ClassResult:
        if target in self._passed:
            return replace(self._passed[target], trigger=self._passed[target].trigger.copied())
        row = int(values.argmax()) if len(values) else -1
        if row < 0 or not self._pool.trials[row, target]:
            return untried(target, self._task.image_shape)
        return self._pool.result(target, row, self._pool.candidates[row].trigger(self._task.image_shape), works=False)
