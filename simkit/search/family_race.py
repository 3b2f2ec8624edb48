"""A race of candidates of several families: waves, blends, warps and patches compete for all classes at once.

Source: our own prototype of a mixed race; the settings that were chosen anew say so. Each family has niches, one
breeding pair for each class, so that what moves clean images by nature does not crowd out the rest; and each demands of
its candidates a success that hardly any trigger of the family reaches on clean models.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simkit.errors import ConfigError
from simkit.search.contract import AskTell, BoolArray, Evidence, Proposal, Search, Task
from simkit.search.family_needs import FamilyNeeds
from simkit.search.leaps import LeapConfig, Leaps
from simkit.search.lengths import Breadth, Rounds
from simkit.search.needs import Lacking
from simkit.search.niches import Member, best_of, grown, mates_of, niches, ripe
from simkit.search.pair_trial import PairTrial, ranking_and_testing, speaking
from simkit.search.patches import Baselines, PatchPool, margins, untried
from simkit.seeding import stream
from simkit.transforms.blend import BlendFamily
from simkit.transforms.breeding import Breeder, Family, check_testable
from simkit.transforms.contract import Transform, Transforms
from simkit.transforms.families import Reader
from simkit.transforms.patch import PatchFamily
from simkit.transforms.warp import WarpFamily
from simkit.transforms.wave import WaveFamily
from simkit.triggers import IntArray
from simkit.verdict import ClassResult

REFUTED = 2.0
"""Penalty on the value of a pair that failed its test, in nats (prototype)."""


@dataclass(frozen=True)
class FamilyRaceConfig:
    """The settings of a race of several families for all classes at once."""

    patch: PatchFamily | None = field(default_factory=PatchFamily)
    """How patches are drawn; None for none. Small ones are found with fewer queries by `race`."""
    wave: WaveFamily | None = field(default_factory=WaveFamily)
    """How waves are drawn; None for none."""
    blend: BlendFamily | None = field(default_factory=BlendFamily)
    """How blends are drawn; None for none."""
    warp: WarpFamily | None = field(default_factory=WarpFamily)
    """How warps are drawn; None for none."""
    more: tuple[Family, ...] = ()
    """Families of your own."""
    whole_from: int = 24
    """Smallest side of an image, in pixels, from which waves, blends and warps take part; no effect on `more`.

    Nothing was calibrated below 32 pixels, and a warp of 0.75 pixels flagged a clean model of 8x8 digits.
    """
    first: int = 120  # prototype
    """Fresh candidates at the start, each tried on one image."""
    fresh: int = 8  # prototype
    """Fresh candidates per round."""
    children: int = 16  # prototype
    """Children of the best pairs of candidate and class per round."""
    parents: int = 8  # prototype
    """Number of best pairs that have children, one of each family and class, the families in turn."""
    retested: int = 2  # prototype
    """Candidates of each family that are tried further in a round, the best ones."""
    retest_images: int = 3
    """Further queries for each of them."""
    size_penalty: float = 0.4  # prototype
    """Penalty on the value of a stronger candidate, in nats per multiple of the largest strength that passes."""
    shrinkage: float = 0.1
    """Number of answers of value 0 towards which a value is shrunk."""
    prior_weight: float = 1.0
    """Weight of the class's mean in the baseline of an image, in answers."""
    test_share: float = 0.4  # prototype
    """Share of the search images that is kept for the test and not used for ranking."""
    test_batch: int = 4
    """Images per round of the test."""
    leap: LeapConfig = field(default_factory=LeapConfig)
    """How the slopes of a family of vectors are followed."""
    most_trials: int = 32
    """Answers after which a pair gets no further retests."""
    keep: int = 300  # prototype
    """Number of candidates that are kept."""
    restart: int = 2500  # prototype
    """Queries after which all candidates are dropped; the baselines are kept."""
    queries: int = 6000  # prototype
    """Query budget of the race."""

    def __post_init__(self) -> None:
        least_one = (self.first, self.parents, self.retested, self.retest_images, self.test_batch)
        if min(*least_one, self.most_trials, self.keep, self.restart, self.queries, self.whole_from) < 1:
            raise ConfigError("counts of a race of families must be 1 or more; fresh and children 0 or more")
        if min(self.fresh, self.children) < 0 or self.fresh + self.children < 1:
            raise ConfigError("a race of families needs new candidates in every round: fresh or children")
        if not 0 < self.test_share < 1 or min(self.size_penalty, self.prior_weight) < 0 or self.shrinkage <= 0:
            raise ConfigError("test_share must lie in (0, 1), penalties be 0 or more, shrinkage above 0")
        check_testable(self.families, self.most_trials)
        names = [family.name for family in self.families]
        if not names or len(set(names)) < len(names):
            raise ConfigError(f"a race needs one family or more, each of a name of its own, not {names}")

    @property
    def families(self) -> tuple[Family, ...]:
        """The families that take part on images that are large enough, in order."""
        given = (self.patch, self.wave, self.blend, self.warp)
        return (*(family for family in given if family is not None), *self.more)

    def families_on(self, image_shape: tuple[int, int, int]) -> tuple[Family, ...]:
        """Those that take part on images of this shape, (C, H, W). Raises ConfigError if there is none."""
        if not self.takes(image_shape):
            size = "x".join(map(str, image_shape[1:]))
            raise ConfigError(f"images of {size} are too small for waves, blends and warps; lower search.whole_from")
        return self.families if self._is_large(image_shape) else self._of_any_size

    def takes(self, image_shape: tuple[int, int, int]) -> bool:
        """See `Choosy`: whether some family takes part."""
        return self._is_large(image_shape) or bool(self._of_any_size)

    def _is_large(self, image_shape: tuple[int, int, int]) -> bool:
        return min(image_shape[1:]) >= self.whole_from

    @property
    def _of_any_size(self) -> tuple[Family, ...]:
        return (*(() if self.patch is None else (self.patch,)), *self.more)

    def readers(self) -> Mapping[str, Reader]:
        """See `OwnFamilies`: of the families of your own."""
        return {family.name: family.from_json for family in self.more}

    def full_length(self, n_classes: int) -> int:
        """See `Bounded`."""
        return self.queries

    def search(self, task: Task, seed: int) -> Search:
        """See `SearchConfig`. Raises ConfigError with fewer than two search images."""
        return FamilyRace(self, task, seed)

    def lacking(self, task: Task) -> Lacking:
        """See `Demanding`."""
        return self._needs(task.image_shape).lacking(task)

    def breadth(self, task: Task) -> Breadth:
        """See `Broad`."""
        return self._needs(task.image_shape).breadth()

    def smallest_mask(self, image_shape: tuple[int, int, int]) -> int:
        """See `Coarse`."""
        return self._needs(image_shape).smallest_mask(image_shape)

    def _needs(self, image_shape: tuple[int, int, int]) -> FamilyNeeds:
        new, again = self.fresh + self.children, self.retested * self.retest_images
        rounds = Rounds(self.first, new, again, self.queries, self.restart)
        return FamilyNeeds(self.families_on(image_shape), rounds, self.most_trials, self.retest_images, self.test_share)


class FamilyRace:
    """A race of several families for all classes; satisfies `Search`.

    A class is censored until one of its pairs passes the race's own test; its result is the pair that passed with the
    highest success rate.
    """

    def __init__(self, config: FamilyRaceConfig, task: Task, seed: int) -> None:
        self._config, self._task, self._seed = config, task, seed
        if (images := len(task.image_classes)) < 2:
            raise ConfigError("a race needs two search images or more, to rank and to test; raise search_images")
        self._ranking, self._testing = ranking_and_testing(images, config.test_share)
        self._families: tuple[Family, ...] = config.families_on(task.image_shape)
        self._breeders: list[Breeder] = [family.breeder(task.image_shape) for family in self._families]
        self._guard = AskTell(task.n_classes, images)
        self._baselines = Baselines(task, config.prior_weight)
        self._passed: dict[int, ClassResult] = {}
        self._leaps = Leaps(config.leap, self._breeders, task.n_classes)
        self._rounds = self._queries = self._since_restart = 0
        self._pool, self._refuted, self._settled = self._begun()
        self._open: tuple[PatchPool, IntArray] | None = None
        self._test: PairTrial | None = None

    @property
    def rounds(self) -> int:
        return self._rounds

    @property
    def over(self) -> bool:
        """Whether the race has ended."""
        return self._test is None and self._queries >= self._config.queries

    def ask(self) -> Proposal | None:
        """The pair under test on a few images; without a test the best pairs, their children, and fresh candidates."""
        if (test := self._test) is not None:
            tried = self._transforms(self._pool, [test.pair[0]])
            return self._guard.asked(Proposal(tried, test.pairs(self._config.test_batch)))
        if self.over:
            return None
        rng = stream(self._seed, "family race", self._rounds)
        new = PatchPool.untried([*self._fresh(rng), *self._children(rng), *self._leaping(rng)], self._task)
        again, pool = self._retests(rng), self._pool.joined(new)
        images = rng.choice(self._ranking, size=len(new))
        once = np.column_stack([np.arange(len(self._pool), len(pool)), images])
        asked = np.concatenate([again, once]).astype(np.int32)
        rows, candidates = np.unique(asked[:, 0], return_inverse=True)
        pairs = np.column_stack([candidates, asked[:, 1]]).astype(np.int32)
        proposal = self._guard.asked(Proposal(self._transforms(pool, rows), pairs))
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
            self._pool, self._refuted, self._settled = self._begun()

    def results(self) -> tuple[ClassResult, ...]:
        values = self._values()
        return tuple(self._result(c, values[:, c]) for c in range(self._task.n_classes))

    def state(self) -> str:
        """The round, the number of candidates, the best pair's family, class, strength and success rate, the class
        under test or None, and a checksum."""
        summary: dict[str, Any] = {"round": self._rounds, "candidates": len(self._pool)}
        if len(self._pool):
            row, target = divmod(int(self._values().argmax()), self._task.n_classes)
            member: Member = self._pool.candidates[row]
            summary |= {"best_family": self._families[member.family].name, "best_class": target}
            summary |= {"best_share": member.share, "best_success_rate": float(self._pool.rates()[row, target])}
        summary["tested_class"] = None if self._test is None else self._test.pair[1]
        return json.dumps(summary | {"digest": zlib.crc32(self._pool.sums.tobytes())})

    def _begun(self) -> tuple[PatchPool, BoolArray, BoolArray]:
        """An empty pool, which of its pairs failed their test, and which were tested."""
        none = np.zeros((0, self._task.n_classes), dtype=np.bool_)
        return PatchPool.untried([], self._task), none, none

    def _transforms(self, pool: PatchPool, rows: Sequence[int] | NDArray[np.integer]) -> Transforms:
        return Transforms([self._transform(pool.candidates[row]) for row in rows])

    def _transform(self, member: Member) -> Transform:
        return self._breeders[member.family].transform(member.candidate)

    def _update(self, evidence: Evidence) -> None:
        assert self._open is not None
        (pool, asked), self._open = self._open, None
        gains = margins(evidence.score)
        gains -= self._baselines.updated(asked[:, 1], gains, evidence.valid)
        self._leaps.learn([pool.candidates[row] for row in asked[:, 0]], gains, evidence.valid)
        pool = pool.updated(asked, evidence, gains)
        refuted, settled = (grown(old, len(pool)) for old in (self._refuted, self._settled))
        values = self._valued(pool, refuted).max(axis=1)
        kept = np.sort(np.argsort(-values, kind="stable")[: self._config.keep])
        self._pool, self._refuted, self._settled = pool.take(kept), refuted[kept], settled[kept]

    def _values(self) -> NDArray[np.float64]:
        return self._valued(self._pool, self._refuted)

    def _valued(self, pool: PatchPool, refuted: BoolArray) -> NDArray[np.float64]:
        """The value by which a pair is ranked, (K, T): its mean gain, less penalties for strength and a failed test."""
        excess = np.maximum(np.array([m.share for m in pool.candidates], dtype=np.float64) - 1.0, 0.0)[:, None]
        gains = pool.values(self._config.shrinkage)
        return np.asarray(gains - self._config.size_penalty * excess - REFUTED * refuted)

    def _member(self, family: int, candidate: Any) -> Member:
        return Member(family, candidate, self._breeders[family].share(candidate))

    def _fresh(self, rng: np.random.Generator) -> Iterator[Member]:
        for _ in range(self._config.fresh if len(self._pool) else self._config.first):
            family = int(rng.integers(len(self._families)))
            yield self._member(family, self._breeders[family].fresh(rng))

    def _children(self, rng: np.random.Generator) -> Iterator[Member]:
        """Children of the niches' best pairs in turn."""
        values = self._values()
        members = self._pool.candidates.tolist()
        pairs = niches(members, values, self._rounds)[: self._config.parents]
        for number in range(self._config.children if pairs else 0):
            row, target = pairs[number % len(pairs)]
            member: Member = members[row]
            mates = mates_of(members, values[:, target], row)
            child = self._breeders[member.family].child(member.candidate, mates, rng)
            yield self._member(member.family, child)

    def _leaping(self, rng: np.random.Generator) -> Iterator[Member]:
        """Candidates along the slopes of those families that are vectors."""
        for family, candidate in self._leaps.draw(self._rounds, rng):
            yield self._member(family, candidate)

    def _retests(self, rng: np.random.Generator) -> IntArray:
        """Candidate and image (N, 2) for the best pairs of each family with fewer than `most_trials` answers."""
        members = self._pool.candidates.tolist()
        tested_out = (self._pool.trials >= self._config.most_trials) | self._settled
        values, asked = np.where(tested_out, -np.inf, self._values()), []
        for family in range(len(self._families)):
            for row, target in best_of(members, family, values, self._config.retested):
                there = speaking(self._task, self._ranking, target)
                chosen = rng.permutation(there[~self._pool.seen[row, there]])[: self._config.retest_images]
                asked += [(row, int(image)) for image in chosen]
        return np.array(asked, dtype=np.int32).reshape(-1, 2)

    def _next_test(self) -> PairTrial | None:
        """The best pair that is weak enough, has a high enough success rate, and was not tested yet."""
        pool = self._pool
        if not len(pool):
            return None
        ready = ripe(pool.candidates.tolist(), self._families, pool) & ~self._settled
        ready[:, [not len(speaking(self._task, self._testing, c)) for c in range(ready.shape[1])]] = False
        if not ready.any():
            return None
        row, target = divmod(int(np.where(ready, self._values(), -np.inf).argmax()), ready.shape[1])
        return PairTrial((row, target), speaking(self._task, self._testing, target))

    def _after(self, test: PairTrial, evidence: Evidence) -> PairTrial | None:
        """The test after these answers, None once it is decided."""
        test, (row, target) = test.after(evidence), test.pair
        family = self._families[self._pool.candidates[row].family]
        passes = test.passes(family.screen)
        if passes is None:
            return test
        self._settled[row, target] = True
        self._refuted[row, target] = not passes
        rate, last = test.hits / test.trials, self._passed.get(target)
        if passes and (last is None or rate >= (last.success_rate or 0.0)):
            trigger = self._transform(self._pool.candidates[row])
            result = ClassResult(target, trigger, trigger.mask_size, rate, censored=False, test=family.test)
            self._passed[target] = result
        return None

    def _result(self, target: int, values: NDArray[np.float64]) -> ClassResult:
        if target in self._passed:
            return replace(self._passed[target], trigger=self._passed[target].trigger.copied())
        row = int(values.argmax()) if len(values) else -1
        if row < 0 or not self._pool.trials[row, target]:
            return untried(target, self._task.image_shape)
        trigger = self._transform(self._pool.candidates[row]).copied()
        rate = float(self._pool.hits[row, target] / self._pool.trials[row, target])
        return ClassResult(target, trigger, trigger.mask_size, rate, censored=True)
