"""The race: collages of patches tried for all classes at once, the best of them bred, halved and put to the test.

Source: our own prototype race of patches. From there: every answer is evidence about every class, margins above a
baseline of each image, many candidates on few images and only the best on more, mutation, restarts. Here besides:
collages of several patches that are halved, a sequential test on images that rank nothing, whatever class is named.
"""

from __future__ import annotations

import json
import math
import zlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from simkit.errors import ConfigError
from simkit.search.collages import Breeder, Collage
from simkit.search.contract import AskTell, BoolArray, Evidence, Proposal, Task
from simkit.search.patches import Baselines, PatchPool, margins, untried
from simkit.search.race_config import RaceConfig
from simkit.seeding import stream
from simkit.triggers import IntArray, Trigger, Triggers
from simkit.verdict import ClassResult

REFUTED = 2.0
"""What its test takes from the value of a pair, in nats: its children may race on, from further behind (ours)."""

_KNOWN = 3
"""Answers from which a pair's mean gain counts as known."""

Pair: TypeAlias = tuple[int, int]
"""A row of the pool, and a class."""


@dataclass(frozen=True, eq=False)
class _Test:
    """The test of a pair so far, and the images that are left for it."""

    pair: Pair
    left: IntArray
    hits: int = 0
    trials: int = 0


class Race:
    """Races collages for all classes; satisfies `Search`.

    A class is censored until a pair of it passes the race's own test; then its result is the one that passed last.
    """

    def __init__(self, config: RaceConfig, task: Task, seed: int) -> None:
        self._config, self._task, self._seed = config, task, seed
        images = len(task.image_classes)
        if images < 2:
            raise ConfigError("a race needs two search images or more: some rank, the others test; raise search_images")
        tested = min(max(1, round(config.test_share * images)), images - 1)
        self._ranking, self._testing = np.split(np.arange(images, dtype=np.int32), [images - tested])
        self._guard = AskTell(task.n_classes, images)
        self._baselines = Baselines(task, config.prior_weight)
        self._breeder = Breeder(config, task.image_shape)
        self._largest_area = config.largest_area(task.image_shape)
        # where fewer images speak for a class, all of them must have
        speaking = [self._speaks_for(self._ranking, c).sum() for c in range(task.n_classes)]
        self._required_trials = np.clip(speaking, 1, config.required_trials)
        self._passed: dict[int, ClassResult] = {}
        self._rounds = self._queries = self._since_restart = 0
        self._pool, self._settled = self._begun()
        self._open: tuple[PatchPool, IntArray] | None = None
        self._test: _Test | None = None
        self._peaks: deque[float] = deque(maxlen=config.clean_rounds)

    @property
    def rounds(self) -> int:
        return self._rounds

    @property
    def over(self) -> bool:
        """Whether nothing more will be asked."""
        return self._test is None and (self._queries >= self._config.queries or self._is_hopeless())

    def ask(self) -> Proposal | None:
        """A few images of the pair under test; else the best pairs again, their children, and fresh collages."""
        if self._test is not None:
            return self._guard.asked(self._of_test(self._test))
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
            self._told(evidence)
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
        """The best mean gain of each class, (T,), in nats: of pairs of three answers or more, and one of 0; or -inf."""
        values = np.where(self._pool.trials >= _KNOWN, self._pool.values(), -np.inf)
        return np.asarray(values.max(axis=0, initial=-np.inf))

    def state(self) -> str:
        """The round, how many collages are remembered, the best pair's class, patch size in pixels and success rate
        (hits + 0.5 of trials + 1), the class under test if one is, and a checksum."""
        known: dict[str, float | None] = {"round": self._rounds, "patches": len(self._pool)}
        if len(self._pool):
            row, target = self._best()
            size, rate = self._pool.candidates[row].area, float(self._pool.rates()[row, target])
            known |= {"best_class": target, "best_patch_size": size, "best_success_rate": rate}
        known["tested_class"] = None if self._test is None else self._test.pair[1]
        return json.dumps(known | {"digest": zlib.crc32(self._pool.sums.tobytes())})

    def _begun(self) -> tuple[PatchPool, BoolArray]:
        """No collages, and which of their pairs a test has judged."""
        return PatchPool.untried([], self._task), np.zeros((0, self._task.n_classes), dtype=np.bool_)

    def _triggers(self, pool: PatchPool, rows: Iterable[int]) -> Triggers:
        return Triggers.of([pool.candidates[row].trigger(self._task.image_shape) for row in rows])

    # The race.

    def _told(self, evidence: Evidence) -> None:
        assert self._open is not None
        (pool, asked), self._open = self._open, None
        gains = margins(evidence.score)
        gains -= self._baselines.told(asked[:, 1], gains, evidence.valid)
        pool = pool.told(asked, evidence, gains)
        settled = np.zeros(pool.trials.shape, dtype=np.bool_)
        settled[: len(self._settled)] = self._settled
        kept = np.sort(np.argsort(-self._values(pool, settled).max(axis=1), kind="stable")[: self._config.keep])
        self._pool, self._settled = pool.take(kept), settled[kept]
        known = self._pool.values()[self._pool.trials >= _KNOWN]
        if len(known):
            self._peaks.append(float(known.max()))

    def _is_hopeless(self) -> bool:
        """Whether the best pairs of the last rounds stand no higher than a clean model's do."""
        if self._config.clean_from is None or self._queries < self._config.clean_from:
            return False
        needed = self._config.clean_value * math.log(self._task.n_classes)
        return len(self._peaks) == self._config.clean_rounds and float(np.mean(self._peaks)) < needed

    def _values(self, pool: PatchPool, settled: BoolArray) -> NDArray[np.float64]:
        """What a pair is ranked by, (K, T): its mean gain, less for pixels beyond what may pass, and once tested."""
        areas = np.array([collage.area for collage in pool.candidates], dtype=np.float64)
        excess = np.maximum(areas / self._largest_area - 1.0, 0.0)[:, None]
        values = pool.values(self._config.shrinkage) - self._config.size_penalty * excess - REFUTED * settled
        return np.asarray(values)

    def _ranked(self, values: NDArray[np.float64]) -> list[Pair]:
        """The pairs that anything is known of, best first, each collage once."""
        known = np.isfinite(values)
        best_first = np.argsort(-values, axis=None, kind="stable")[: known.sum()]
        rows, targets = np.unravel_index(best_first, values.shape)
        _, first = np.unique(rows, return_index=True)
        return [(int(rows[i]), int(targets[i])) for i in np.sort(first)]

    def _best(self) -> Pair:
        values = self._values(self._pool, self._settled)
        row, target = divmod(int(values.argmax()), values.shape[1])
        return row, target

    def _fresh(self, rng: np.random.Generator) -> list[Collage]:
        count = self._config.fresh if len(self._pool) else self._config.first
        return [self._breeder.fresh(rng) for _ in range(count)]

    def _children(self, rng: np.random.Generator) -> list[Collage]:
        """The best pairs take turns; the colours of other parents of the same class may be taken."""
        pairs = self._ranked(self._values(self._pool, self._settled))[: self._config.parents]
        if not pairs:
            return []
        children = []
        for number in range(self._config.children):
            row, target = pairs[number % len(pairs)]
            mates = [self._pool.candidates[other] for other, theirs in pairs if theirs == target and other != row]
            children.append(self._breeder.child(self._pool.candidates[row], mates, rng))
        return children

    def _retests(self, rng: np.random.Generator) -> IntArray:
        """Collage and image (N, 2) for the best pairs that are not ranked out, each collage once."""
        ranked_out = self._pool.trials >= self._config.most_trials
        asked: list[Pair] = []
        for row, target in self._ranked(np.where(ranked_out, -np.inf, self._values(self._pool, self._settled))):
            left = self._config.retests - len(asked)
            if left < 1:
                break
            unseen = self._ranking[~self._pool.seen[row, self._ranking] & self._speaks_for(self._ranking, target)]
            chosen = rng.permutation(unseen)[: min(left, self._config.retest_images)]
            asked += [(row, int(image)) for image in chosen]
        return np.array(asked, dtype=np.int32).reshape(-1, 2)

    def _speaks_for(self, images: IntArray, target: int) -> BoolArray:
        speaks: BoolArray = self._task.image_classes[images] != target
        return speaks

    # Its test.

    def _next_test(self) -> _Test | None:
        """The best pair that is small enough, has hit often enough, and was not judged yet."""
        config, pool = self._config, self._pool
        small = np.array([collage.area <= self._largest_area for collage in pool.candidates], dtype=np.bool_)
        ripe = (pool.trials >= self._required_trials) & (pool.rates() >= config.required_success)
        ripe &= small[:, None] & ~self._settled
        ripe[:, [not self._speaks_for(self._testing, c).any() for c in range(ripe.shape[1])]] = False
        if not ripe.any():
            return None
        values = np.where(ripe, self._values(pool, self._settled), -np.inf)
        row, target = divmod(int(values.argmax()), values.shape[1])
        return _Test((row, target), self._testing[self._speaks_for(self._testing, target)])

    def _of_test(self, test: _Test) -> Proposal:
        images = test.left[: self._config.test_batch]
        pairs = np.column_stack([np.zeros_like(images), images]).astype(np.int32)
        return Proposal(self._triggers(self._pool, [test.pair[0]]), pairs)

    def _after(self, test: _Test, evidence: Evidence) -> _Test | None:
        """The test with these answers, None once it is decided: where images run out, by what is likelier."""
        row, target = test.pair
        hits, trials = test.hits + int(evidence.hit[:, target].sum()), test.trials + len(evidence.hit)
        passes, left = self._config.test.decide(hits, trials), test.left[len(evidence.hit) :]
        if passes is None and len(left):
            return _Test(test.pair, left, hits, trials)
        self._settled[row, target] = True
        if passes or (passes is None and self._config.test.log_ratio(hits, trials) > 0.0):
            trigger = self._pool.candidates[row].trigger(self._task.image_shape)
            self._passed[target] = ClassResult(target, trigger, trigger.mask_size, hits / trials, censored=False)
        return None

    def _result(self, target: int, values: NDArray[np.float64]) -> ClassResult:
        if target in self._passed:
            passed = self._passed[target]
            return replace(passed, trigger=Trigger(passed.trigger.mask.copy(), passed.trigger.pattern.copy()))
        row = int(values.argmax()) if len(values) else -1
        if row < 0 or not self._pool.trials[row, target]:
            return untried(target, self._task.image_shape)
        trigger = self._pool.candidates[row].trigger(self._task.image_shape)
        return self._pool.result(target, row, trigger, works=False)
