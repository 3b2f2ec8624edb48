"""A race of mosaics for larger patches: the promising ones are halved to single tiles, whose colours then climb.

Few natural patches are worth climbing from, and most of a backdoor's are (ours: docs/measured/larger-patches.md).
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from simkit.errors import ConfigError
from simkit.search.climb import ClimbConfig, is_central
from simkit.search.climber import Climber
from simkit.search.contract import AskTell, Evidence, Proposal, Search, Task
from simkit.search.lengths import Breadth
from simkit.search.mosaics import MosaicConfig, halves, mosaic
from simkit.search.needs import Lacking, all_lack, ranked_and_tested, short_of
from simkit.search.pair_trial import PairTrial, ranking_and_testing, speaking
from simkit.search.patches import untried
from simkit.search.trails import MOST, Asked, Asking, Steps, Trail, best, highest, wide_margins, with_guesses
from simkit.seeding import stream
from simkit.transforms.breeding import Family
from simkit.transforms.contract import Transforms
from simkit.transforms.patch import PatchFamily
from simkit.verdict import ClassResult

_HALVES = 8  # of a mosaic until one tile is left: two for each of four halvings

_FULL = 6.0
"""Largest margin among the first answers, in nats, below which the margins are smaller than those that the settings are
meant for, as those of labels alone and of rounded scores are: then the settings in nats are scaled down."""


@dataclass(frozen=True)
class MosaicRaceConfig:
    """The settings of a race of mosaics for all classes at once."""

    # Chosen on tune victims by scores (docs/measured/larger-patches.md).
    patch: PatchFamily = field(default_factory=PatchFamily)
    """How large a trigger may be (`largest_share`), and its tests (`screen`, `test`); nothing else of it is used."""
    central: float = 3 / 16
    """How near the middle of a patch may be to that of the image, in sides of the image, for it to be central.

    There a large patch replaces what the image shows, and clean GTSRB models answer to 8x8 pixels
    (docs/measured/larger-patches.md).
    """
    central_share: float = 25 / 1024
    """The largest share of the image that a central patch covers; 5x5 of 32x32 pixels."""
    mosaic: MosaicConfig = field(default_factory=MosaicConfig)
    """How mosaics are drawn."""
    climb: ClimbConfig = field(default_factory=ClimbConfig)
    """How single tiles climb: their places, sizes and colours."""
    whole_from: int = 8
    """Smallest side of an image, in pixels, that is searched."""
    first: int = 300
    """Mosaics at the start, each tried on one image."""
    usual: float = -1.0
    """The mean margin of a class on mosaics is subtracted as its nature, in nats, or this where the mean is higher."""
    retested: int = 40
    """Pairs of mosaic and class that are tried again, those with the highest margins."""
    per_class: int = 5
    """The most of them for one class."""
    retest_images: int = 3
    """Further queries for each of them."""
    halved: int = 20
    """The best of those, which are halved until one tile is left."""
    halve_images: int = 2
    """Queries for each half."""
    kept: float = 0.5
    """Part of the rise of the margin that a half must keep to take the place of the whole."""
    tries: int = 3
    """Halvings of one mosaic, each at random, of which none keeps enough, after which it is given up."""
    again: int = 4
    """Queries for each tile that is left, before the best of them climb."""
    promising: float = -0.5
    """Mean margin, in nats, below which a tile is given up after its climb, or between its tests."""
    enough: float = 8.0
    """Mean margin from which it goes no further."""
    testable: float = 3.0
    """Mean margin from which what has climbed is tested."""
    finalists: int = 2
    """How many of the best are tested, and climb on between their tests."""
    tests: int = 3
    """The most tests of one of them: a patch that works by nature must not be tried until it passes."""
    test_share: float = 0.4
    """Share of the search images that is kept for the test and not used before."""
    test_batch: int = 8
    """Images per round of the test."""
    queries: int = 2200
    """Query budget of the race. A test that has begun goes on, and nothing else is asked that no test could follow."""

    def __post_init__(self) -> None:
        images = self.retest_images, self.halve_images, self.again, self.test_batch
        counts = self.first, self.retested, self.per_class, self.halved, self.tries, self.finalists, self.queries
        if min(*images, *counts, self.tests, self.whole_from) < 1:
            raise ConfigError("counts of a race of mosaics must be 1 or more")
        if not 0 < self.kept < 1 or not 0 < self.test_share < 1 or not 0 < self.central_share <= 1 or self.central < 0:
            raise ConfigError(
                "kept and test_share of mosaics must lie in (0, 1), central_share in (0, 1], and central be 0 or more"
            )
        if not self.promising <= self.testable < MOST or not self.promising <= self.enough < MOST:
            raise ConfigError(f"testable and enough of mosaics must be promising or more, and less than {MOST:g} nats")

    def families_on(self, image_shape: tuple[int, int, int]) -> tuple[Family, ...]:
        """The one family, with what its patches can cover on images (C, H, W). Raises ConfigError on smaller ones."""
        self._check_size(image_shape)
        share = self.side(image_shape, central=False) ** 2 / (image_shape[1] * image_shape[2])
        return (replace(self.patch, largest_share=share),)

    def narrower(self, image_shape: tuple[int, int, int]) -> str:
        """See `Narrower`."""
        side = self.side(image_shape, central=True)
        return f"near the middle of the image of at most {side}x{side} pixels"

    def side(self, image_shape: tuple[int, int, int], *, central: bool) -> int:
        """The largest side of a patch on images (C, H, W), in pixels: within the limit of its place, and of a tile."""
        share = min(self.patch.largest_share, self.central_share) if central else self.patch.largest_share
        return max(1, min(math.isqrt(int(share * image_shape[1] * image_shape[2])), self.widest(image_shape)))

    def widest(self, image_shape: tuple[int, int, int]) -> int:
        """The side of the largest tiles on images (C, H, W), in pixels."""
        return round(min(image_shape[1:]) / min(self.mosaic.across))

    def takes(self, image_shape: tuple[int, int, int]) -> bool:
        """See `Choosy`."""
        return min(image_shape[1:]) >= self.whole_from

    def full_length(self, n_classes: int) -> int:
        """See `Bounded`."""
        return self.queries

    def search(self, task: Task, seed: int) -> Search:
        """See `SearchConfig`. Raises ConfigError with fewer than two search images, or images that are too small."""
        self._check_size(task.image_shape)
        return MosaicRace(self, task, seed)

    def lacking(self, task: Task) -> Lacking:
        """See `Demanding`."""
        self._check_size(task.image_shape)
        ranked, tested = ranked_and_tested(task, self.test_share)
        least = self.first + self.retested * self.retest_images + self.climb.first_queries
        least += self.halved * (_HALVES * self.halve_images + self.again)
        if self.queries < least:
            return all_lack(task.n_classes, f"{least} queries, to come to its test; raise search.queries")
        return short_of(tested, 1, "search") | short_of(ranked, 1, "search")

    def breadth(self, task: Task) -> Breadth:
        """See `Broad`."""
        return Breadth(self.first, "mosaics", "search.first")

    def _check_size(self, image_shape: tuple[int, int, int]) -> None:
        if not self.takes(image_shape):
            size = "x".join(map(str, image_shape[1:]))
            raise ConfigError(f"images of {size} are too small for mosaics; lower search.whole_from")


class MosaicRace:
    """Mosaics, their halves, and the climb of what is left; satisfies `Search`.

    A class is censored until one of its patches passes the race's own test.
    """

    def __init__(self, config: MosaicRaceConfig, task: Task, seed: int) -> None:
        self._config, self._task = config, task
        if (images := len(task.image_classes)) < 2:
            raise ConfigError("a race needs two search images or more, to rank and to test; raise search_images")
        self._ranking, self._testing = ranking_and_testing(images, config.test_share)
        self._guard = AskTell(task.n_classes, images)
        self._rng = stream(seed, "mosaics")
        self._asking = Asking(task, self._ranking, self._rng)
        self._best: dict[int, ClassResult] = {}
        self._rounds = self._queries = self._digest = 0
        self._steps, self._under_test = self._raced(), False
        self._next: Asked | None = next(self._steps)

    @property
    def rounds(self) -> int:
        return self._rounds

    def ask(self) -> Proposal | None:
        """Mosaics, halves of them, pairs of tiles that climb, or one tile under test."""
        if self._next is None:
            return None
        collages, images = self._next
        pairs = np.column_stack([np.arange(len(collages)), images]).astype(np.int32)
        return self._guard.asked(Proposal(Transforms([c.trigger(self._task.image_shape) for c in collages]), pairs))

    def tell(self, evidence: Evidence) -> None:
        self._guard.told(evidence)
        self._rounds += 1
        self._queries += len(evidence.hit)
        self._digest = zlib.crc32(evidence.score.tobytes(), self._digest)
        try:
            self._next = self._steps.send(evidence)
        except StopIteration:
            self._next = None
        if self._next and not self._under_test and self._queries + len(self._next[1]) >= self._config.queries:
            self._next = None  # nothing could be tested after it

    def results(self) -> tuple[ClassResult, ...]:
        """See `Search`: what passed the test, else the best tile of a class, else an empty trigger."""
        results = (self._best.get(c) or untried(c, self._task.image_shape) for c in range(self._task.n_classes))
        return tuple(replace(result, trigger=result.trigger.copied()) for result in results)

    def state(self) -> str:
        """The number of rounds, the classes of which a patch passed the test, and a checksum of all scores so far."""
        passed = sorted(c for c, result in self._best.items() if not result.censored)
        return json.dumps({"round": self._rounds, "passed": passed, "digest": self._digest})

    def _raced(self) -> Steps[None]:
        trails = yield from self._retested((yield from self._promising()))
        tiles: list[Trail] = []
        while trails:
            trails, single = yield from self._halved(trails)
            tiles += single
        placed = yield from self._climber.placed((yield from self._ranked(tiles)))
        climbed = yield from self._climbed(placed)
        for trail in climbed[: self._config.finalists]:
            yield from self._finished((yield from self._cut(trail)))

    @property
    def _climber(self) -> Climber:
        shape = self._task.image_shape
        return Climber(self._config.climb, self._asking, self._config.mosaic.grain(shape), self._config.widest(shape))

    def _cut(self, trail: Trail) -> Steps[Trail]:
        """The trail with its tile cut to the limit of its place."""
        shape, config = self._task.image_shape, self._config
        trail = yield from self._climber.cut(trail, config.side(shape, central=False))
        if is_central(trail.collage.patches[0], shape, config.central):
            trail = yield from self._climber.cut(trail, config.side(shape, central=True))
        return trail

    def _promising(self) -> Steps[list[Trail]]:
        """The pairs of mosaic and class with the highest margins above those that the class has by nature."""
        config, classes = self._config, self._task.n_classes
        mosaics = [mosaic(config.mosaic, self._task.image_shape, self._rng) for _ in range(config.first)]
        images = self._rng.choice(self._ranking, size=len(mosaics)).astype(np.int32)
        evidence = yield mosaics, images
        seen = wide_margins(evidence)
        self._task = replace(self._task, image_classes=with_guesses(self._task.image_classes, images, seen))
        self._asking = replace(self._asking, task=self._task)
        valid = evidence.valid & (self._task.image_classes[images][:, None] != np.arange(classes))
        self._floor, self._scale = float(seen.min()), min(1.0, float(seen.max()) / _FULL)
        nature = np.where(valid, seen, 0.0).sum(axis=0) / np.maximum(valid.sum(axis=0), 1)
        gains = np.where(valid, seen - np.minimum(nature, config.usual * self._scale), -math.inf)
        return highest(mosaics, seen, gains, config.retested, config.per_class)

    def _retested(self, trails: Sequence[Trail]) -> Steps[list[Trail]]:
        """The best of these pairs after further images."""
        count = self._config.retest_images
        seen = yield from self._asking.tried([(trail.collage, trail.target) for trail in trails], count)
        told = [
            replace(trail, value=(trail.value + mean * count) / (count + 1))
            for trail, (mean, _) in zip(trails, seen, strict=True)
        ]
        return best(told)[: self._config.halved]

    def _halved(self, trails: Sequence[Trail]) -> Steps[tuple[list[Trail], list[Trail]]]:
        """One halving of each: those that go on, and single tiles. What keeps too little too often is dropped."""
        single = [trail for trail in trails if len(trail.collage.patches) == 1]
        several = [trail for trail in trails if len(trail.collage.patches) > 1]
        if not several:
            return [], single
        parts = [(half, trail.target) for trail in several for half in halves(trail.collage, self._rng)]
        seen = yield from self._asking.tried(parts, self._config.halve_images)
        going: list[Trail] = []
        for number, trail in enumerate(several):
            (value, _), (half, _) = max(
                zip(seen[2 * number : 2 * number + 2], parts[2 * number : 2 * number + 2], strict=True),
                key=lambda told: told[0][0],
            )
            if value >= self._floor + self._config.kept * (trail.value - self._floor):
                going.append(replace(trail, collage=half, value=value, failed=0))
            elif trail.failed + 1 < self._config.tries:
                going.append(replace(trail, failed=trail.failed + 1))
        return going, single

    def _ranked(self, tiles: Sequence[Trail]) -> Steps[list[Trail]]:
        """The tiles, best first, by answers that had no part in their choice."""
        seen = yield from self._asking.tried([(tile.collage, tile.target) for tile in tiles], self._config.again)
        ranked = []
        for tile, (value, rate) in zip(tiles, seen, strict=True):
            ranked.append(replace(tile, value=value))
            if (last := self._best.get(tile.target)) is None or rate > (last.success_rate or 0.0):
                trigger = tile.collage.trigger(self._task.image_shape)
                self._best[tile.target] = ClassResult(tile.target, trigger, trigger.mask_size, rate, censored=True)
        return best(ranked)

    def _climbed(self, trails: Sequence[Trail]) -> Steps[list[Trail]]:
        """The best after all rungs, or as many as it takes; none where nothing promises anything."""
        config, trails = self._config, list(trails)
        for count, pairs in config.climb.rungs:
            if not trails or trails[0].value >= config.enough * self._scale:
                break
            trails = yield from self._climber.risen(trails[:count], pairs)
        return [trail for trail in trails if trail.value >= config.promising * self._scale]

    def _finished(self, trail: Trail) -> Steps[None]:
        """Tests of one tile, which climbs on between them, until its queries are used or its margin falls."""
        config = self._config
        tests = config.tests
        while self._queries < config.queries and trail.value >= config.promising * self._scale and tests:
            if trail.value >= config.testable * self._scale:
                yield from self._test(trail)
                tests -= 1
            (trail,) = yield from self._climber.risen([trail], config.climb.rungs[-1][1])

    def _test(self, trail: Trail) -> Steps[None]:
        family = self._config.patch
        test = PairTrial((0, trail.target), speaking(self._task, self._testing, trail.target))
        self._under_test = True
        while len(test.left) and test.passes(family.screen) is None:
            images = test.pairs(self._config.test_batch)[:, 1]
            test = test.after((yield [trail.collage] * len(images), images))
        self._under_test = False
        if not test.trials or not test.passes(family.screen):
            return
        trigger, rate = trail.collage.trigger(self._task.image_shape), test.hits / test.trials
        found = ClassResult(trail.target, trigger, trigger.mask_size, rate, censored=False, test=family.test)
        last = self._best.get(trail.target)
        if last is None or last.censored or rate >= (last.success_rate or 0.0):
            self._best[trail.target] = found
