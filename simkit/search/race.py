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
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from simkit.errors import ConfigError
from simkit.search.collages import Breeder, Breeding, Collage
from simkit.search.contract import AskTell, BoolArray, Evidence, Proposal, Search, Task
from simkit.search.pair_trial import Pair, PairTrial
from simkit.search.patches import Baselines, PatchPool, margins, untried
from simkit.seeding import stream
from simkit.triggers import IntArray, Trigger, Triggers
from simkit.verdict import ClassResult, SequentialTest

REFUTED = 2.0
"""What its test takes from the value of a pair, in nats: its children may race on, from further behind (ours)."""


_FEW_PIXELS = 4

_KNOWN = 3
"""Answers from which a pair's mean gain counts as known."""


@dataclass(frozen=True)
class RaceConfig:
    """One race of collages of patches for all classes at once.

    first: fresh collages at the start, each on one image. fresh, children: new collages a round, children of the best
    `parents` pairs of collage and class. retests: further queries a round for the best pairs, at most `retest_images`
    for each. patches: in a fresh collage. largest_share: of the image's pixels, that a collage may cover to pass, and
    the largest square patch; size_penalty: what each such area more takes from the value of a larger one, in nats.
    shrinkage: answers of value 0 that a value is shrunk by. prior_weight: answers of the class's mean in the baseline
    of an image.
    required_trials, required_success: answers and rate (hits + 0.5) / (trials + 1) of a pair before it is tested.
    test: on the `test_share` of the search images that ranks nothing, `test_batch` a round; what passes is reported,
    and goes on to the driver's own images. most_trials: answers after which a pair is ranked no further. tint_noise,
    pixel_noise: deviations of what mutation adds to colours in [0, 1]. part: chance that the child of a collage of
    several patches is one half of it. keep: collages remembered. restart: queries after which the collages are
    forgotten, the baselines not. queries: after so many the race is over. clean_from, clean_value, clean_rounds: it is
    over from clean_from queries on where the best pair's mean gain, in nats of at least three answers and one of 0, was
    below clean_value * ln(classes) on average over the last clean_rounds rounds of this population: the best of more
    classes is better by chance; None for no such end.
    """

    known_as: ClassVar[str] = "simkit.search.race_config.RaceConfig"  # in run keys and ledgers, wherever it lives

    # Chosen on tune victims (the zoos cifar10-tune, gtsrb-tune and cifar10-wide-tune) among some sixty settings by the
    # mean of queries, where many were alike; those marked are the prototype's. The end for clean models was chosen on
    # the same victims and the clean ones of cifar10-clean-calibrate and gtsrb-clean-calibrate. Ten classes: of 87 finds
    # of backdoors, patches of up to 6x6 pixels, it would have ended one too early; of 84 scans of clean models 74
    # before the cap, half of them by 1,224 queries. 43 classes: none of 29; half of 28 by 1,224.
    first: int = 100
    fresh: int = 4
    children: int = 12
    parents: int = 5
    retests: int = 12
    retest_images: int = 3
    patches: int = 3
    largest_share: float = 1 / 64  # the prototype's 4x4 pixels, of 32x32
    size_penalty: float = 0.4
    shrinkage: float = 0.1
    prior_weight: float = 1.0
    required_trials: int = 5
    required_success: float = 0.65  # prototype
    test: SequentialTest = field(default_factory=lambda: SequentialTest(alpha=0.01, beta=0.01))
    test_share: float = 0.25
    test_batch: int = 4
    most_trials: int = 32  # prototype
    tint_noise: float = 0.5
    pixel_noise: float = 0.375  # prototype
    part: float = 0.95
    keep: int = 200
    restart: int = 1500  # prototype
    queries: int = 2800  # with what is checked and confirmed besides, the prototype's 3,000
    clean_from: int | None = 1200
    clean_value: float = 0.8
    clean_rounds: int = 15

    def __post_init__(self) -> None:
        least_one = (self.first, self.parents, self.retest_images, self.patches)
        others = (self.required_trials, self.test_batch, self.keep, self.restart, self.queries)
        if min(*least_one, *others) < 1 or min(self.fresh, self.children, self.retests) < 0:
            raise ConfigError("counts of a race must be 1 or more; fresh, children and retests 0 or more")
        if self.fresh + self.children < 1:
            raise ConfigError("a race needs new collages in every round: fresh or children")
        if not 0 < self.largest_share <= 1:
            raise ConfigError(f"largest_share {self.largest_share}; a patch covers a share in (0, 1] of the image")
        if self.most_trials < self.required_trials:
            raise ConfigError(f"most_trials {self.most_trials} lie below required_trials {self.required_trials}")
        if self.clean_rounds < 1 or (self.clean_from is not None and self.clean_from < 1):
            raise ConfigError("clean_rounds and clean_from of a race must be 1 or more, clean_from may be None")
        if not 0 < self.required_success < 1 or not 0 < self.test_share < 1 or not 0 <= self.part <= 1:
            raise ConfigError("required_success and test_share of a race must lie in (0, 1), part in [0, 1]")
        if min(self.size_penalty, self.prior_weight, self.tint_noise, self.pixel_noise) < 0 or self.shrinkage <= 0:
            raise ConfigError("size_penalty, prior_weight and noises of a race must be 0 or more, shrinkage above 0")

    def search(self, task: Task, seed: int) -> Search:
        """See `SearchConfig`. Raises ConfigError with fewer than two search images."""
        return Race(self, task, seed)

    def warnings(self, image_shape: tuple[int, int, int], *, alone: bool) -> tuple[str, ...]:
        """See `Cautious`: where nothing follows it, a race for patches smaller than 2x2 says so."""
        if not alone or (area := self.largest_area(image_shape)) >= _FEW_PIXELS:
            return ()
        said = f"on images of {image_shape[1]}x{image_shape[2]} this race looks for patches of {area} pixels at most"
        return (f"{said}; raise search.largest_share and rule.threshold, or choose preset auto",)

    def largest_area(self, image_shape: tuple[int, int, int]) -> int:
        """Pixels of an image of this shape, (C, H, W), that a collage may cover to pass."""
        return max(1, int(self.largest_share * image_shape[1] * image_shape[2]))

    def breeding(self, image_shape: tuple[int, int, int]) -> Breeding:
        """How collages for images of this shape, (C, H, W), are drawn and changed."""
        largest_side = math.isqrt(self.largest_area(image_shape))
        return Breeding(self.patches, largest_side, self.part, self.tint_noise, self.pixel_noise)


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
        self._breeder = Breeder(config.breeding(task.image_shape), task.image_shape)
        self._largest_area = config.largest_area(task.image_shape)
        # where fewer images speak for a class, all of them must have
        speaking = [self._speaks_for(self._ranking, c).sum() for c in range(task.n_classes)]
        self._required_trials = np.clip(speaking, 1, config.required_trials)
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

    def _next_test(self) -> PairTrial | None:
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
        return PairTrial((row, target), self._testing[self._speaks_for(self._testing, target)])

    def _of_test(self, test: PairTrial) -> Proposal:
        return Proposal(self._triggers(self._pool, [test.pair[0]]), test.pairs(self._config.test_batch))

    def _after(self, test: PairTrial, evidence: Evidence) -> PairTrial | None:
        """The test with these answers, None once it is decided."""
        test, (row, target) = test.after(evidence), test.pair
        passes = test.passes(self._config.test)
        if passes is None:
            return test
        self._settled[row, target] = True
        if passes:
            trigger = self._pool.candidates[row].trigger(self._task.image_shape)
            rate = test.hits / test.trials
            self._passed[target] = ClassResult(target, trigger, trigger.mask_size, rate, censored=False)
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
