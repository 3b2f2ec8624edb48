r"""B3D's estimator on a whole picture of few numbers, with classes compared, as detectors of your own.

`race-pictures` finds natural pictures that were blended in by a regression over random pictures. Here each class has a
picture of its own that climbs by natural evolution strategies instead. The family of pictures, its limit and its tests
are those of `race-pictures`, so that a find is confirmed by the same rule.

simkit study scan ZOO --data DATA --budget 25000 --detector benchmarks.picture_nes:HALVED --set seed=1 \
    --out results/pictures-nes.jsonl
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from simkit.errors import ConfigError
from simkit.search.adam import Adam
from simkit.search.contract import AskTell, Evidence, Proposal, Search, Task
from simkit.search.estimators import pattern_gradient, squash
from simkit.search.pair_trial import PairTrial, ranking_and_testing, speaking
from simkit.search.patches import margins, untried
from simkit.search.picture_race import PictureRaceConfig
from simkit.search.presets import Preset, preset
from simkit.seeding import stream
from simkit.transforms.contract import ImageShape, Transforms
from simkit.transforms.picture import Picture, PictureFamily
from simkit.triggers import FloatArray, IntArray
from simkit.verdict import ClassResult


@dataclass(frozen=True)
class PictureNesConfig:
    """The settings of a climb of one picture for each class."""

    picture: PictureFamily = field(default_factory=PictureFamily)
    """The size of the picture, its share of the image, and what is demanded of it."""
    # samples, sigma, learning_rate and first_steps were chosen on tune victims (docs/measured/pictures.md)
    samples: int = 10
    """Pictures per step, in pairs of opposite noise; both of a pair are tried on the same image."""
    sigma: float = 1.0
    """Standard deviation of the noise on the numbers before tanh."""
    learning_rate: float = 0.2
    """Learning rate of Adam."""
    halving: bool = True
    """Whether classes are compared; otherwise all of them take equally many steps, as those of B3D."""
    shared: bool = True
    """Whether the answers to the first step of any class, which are to random pictures, count for all classes."""
    first_steps: int = 1
    """Steps of every class before the worse half is left behind for the first time."""
    smoothing: float = 0.8
    """Weight of the former steps in a class's mean margin, by which it is compared, and in its success rate."""
    promising: float = 0.5
    """Mean success rate of the samples from which the mean picture itself is tried."""
    check_every: int = 4
    """Steps of a class between two such trials."""
    test_share: float = 0.4
    """Share of the search images that is kept for the test."""
    test_batch: int = 4
    """Images per round of the test."""
    queries: int = 20_000
    """Query budget of the search."""

    def __post_init__(self) -> None:
        counts = (self.first_steps, self.check_every, self.test_batch, self.queries)
        if self.samples < 2 or self.samples % 2 or min(counts) < 1:
            raise ConfigError("samples must be an even number of 2 or more, the other counts 1 or more")
        if min(self.sigma, self.learning_rate) <= 0 or not 0 < self.test_share < 1 or not 0 <= self.smoothing < 1:
            raise ConfigError("sigma and learning_rate must be above 0, test_share in (0, 1), smoothing in [0, 1)")

    def full_length(self, n_classes: int) -> int:
        """See `Bounded`."""
        return self.queries

    def search(self, task: Task, seed: int) -> Search:
        """See `SearchConfig`. Raises ConfigError with fewer than two search images."""
        return PictureNes(self, task, seed)


class PictureDistribution:
    """The search distribution of one class: a normal one of a picture's numbers, whose mean Adam moves.

    B3D's baseline is left out: both of an antithetic pair would be moved by the same amount, and cancel.
    """

    def __init__(self, config: PictureNesConfig, image_shape: ImageShape) -> None:
        self._config, self._shape = config, image_shape
        side = config.picture.side
        self._mean: FloatArray = np.zeros((image_shape[0], side, side), dtype=np.float32)
        self._adam = Adam(self._mean, config.learning_rate)
        self.steps = self.checked = 0
        self.margin = self.success = 0.0

    def noise(self, rng: np.random.Generator) -> FloatArray:
        """eps_j ~ N(0, I), (k, C, side, side), with eps_{j + k/2} = -eps_j."""
        half = rng.standard_normal((self._config.samples // 2, *self._mean.shape), dtype=np.float32)
        return np.concatenate([half, -half])

    def picture(self, noise: FloatArray | None = None) -> Picture:
        """The picture at this noise (C, side, side), or the mean picture."""
        numbers = self._mean if noise is None else self._mean + np.float32(self._config.sigma) * noise
        return Picture(
            self._shape, self._config.picture.largest_alpha, np.rint(squash(numbers) * 255.0).astype(np.uint8)
        )

    def update(self, noise: FloatArray, gains: FloatArray, hits: float) -> None:
        """One step up. noise, gains: of each answer, and its margin, (N, ...) and (N,). hits: the share that hit."""
        kept = self._config.smoothing if self.steps else 0.0
        self.margin = kept * self.margin + (1.0 - kept) * float(gains.mean())
        self.success = kept * self.success + (1.0 - kept) * hits
        self._adam.step(pattern_gradient(-gains, noise, self._config.sigma).astype(np.float32))
        self.steps += 1

    def due(self) -> bool:
        """Whether the mean picture is to be tried itself."""
        often = self.steps - self.checked >= self._config.check_every
        return often and self.success >= self._config.promising

    def digest(self, before: int) -> int:
        """A checksum of the mean, after that of others."""
        return zlib.crc32(self._mean.tobytes(), before)


class Sweeps:
    """Which classes take a step next: successive halving in sweeps, each with twice the steps of the one before.

    After the steps of a rung the better half of its classes goes on, with twice as many steps each. A sweep ends with
    the steps of one class; nothing that was learned is dropped.
    """

    def __init__(self, classes: list[int], steps: int) -> None:
        self._all, self._sweep = classes, steps
        self.there, self._rung, self._left = classes, steps, steps

    def stepped(self, margins_of: dict[int, float]) -> None:
        """All classes in the rung have taken a step. margins_of: by which they are compared."""
        self._left -= 1
        if self._left:
            return
        if len(self.there) > 1:
            best = sorted(self.there, key=lambda c: -margins_of[c])[: (len(self.there) + 1) // 2]
            self.there, self._rung = sorted(best), 2 * self._rung
        else:
            self._sweep *= 2
            self.there, self._rung = self._all, self._sweep
        self._left = self._rung


@dataclass(frozen=True, eq=False)
class Check:
    """A mean picture under trial: first on a few images that rank, then by the family's screen on those kept for it."""

    picture: Picture
    trial: PairTrial
    screened: bool = False


class PictureNes:
    """A climb of one picture for each class; satisfies `Search`.

    A class is censored until a mean picture of its passes the screen; its result is the last one that passed.
    """

    def __init__(self, config: PictureNesConfig, task: Task, seed: int) -> None:
        self._config, self._task, self._seed = config, task, seed
        if (images := len(task.image_classes)) < 2:
            raise ConfigError("pictures need two search images or more, to rank and to test; raise search_images")
        self._ranking, self._testing = ranking_and_testing(images, config.test_share)
        self._guard = AskTell(task.n_classes, images)
        self._classes = [PictureDistribution(config, task.image_shape) for _ in range(task.n_classes)]
        kept = (self._ranking, self._testing)
        able = [c for c in range(task.n_classes) if all(len(speaking(task, some, c)) for some in kept)]
        self._sweeps = Sweeps(able, config.first_steps)
        self._passed: dict[int, ClassResult] = {}
        self._rounds = self._queries = 0
        self._noises: dict[int, FloatArray] = {}
        self._check: Check | None = None

    @property
    def rounds(self) -> int:
        return self._rounds

    def ask(self) -> Proposal | None:
        """The mean picture under trial on a few images; without one, a step of every class in the rung."""
        if (check := self._check) is not None:
            batch = self._config.test_batch if check.screened else self._config.picture.required_trials
            return self._guard.asked(Proposal(Transforms([check.picture]), check.trial.pairs(batch)))
        if self._queries >= self._config.queries or not self._sweeps.there:
            return None
        rng = stream(self._seed, "picture nes", self._rounds)
        pictures: list[Picture] = []
        pairs: list[IntArray] = []
        for c in self._sweeps.there:
            noise = self._noises[c] = self._classes[c].noise(rng)
            pairs.append(self._pairs(c, rng) + np.array([len(pictures), 0], dtype=np.int32))
            pictures += [self._classes[c].picture(one) for one in noise]
        return self._guard.asked(Proposal(Transforms(pictures), np.concatenate(pairs)))

    def tell(self, evidence: Evidence) -> None:
        self._guard.told(evidence)
        self._queries += len(evidence.hit)
        self._rounds += 1
        if self._check is not None:
            self._check = self._after(self._check, evidence)
        else:
            self._update(evidence)
        if self._check is None:
            self._check = self._next_check()

    def results(self) -> tuple[ClassResult, ...]:
        return tuple(self._result(c) for c in range(self._task.n_classes))

    def state(self) -> str:
        """The round, the classes in the rung, the best of them with its success rate, the class under trial or None,
        and a checksum of the means."""
        best = max(range(self._task.n_classes), key=lambda c: (self._classes[c].steps > 0, self._classes[c].margin))
        summary: dict[str, Any] = {"round": self._rounds, "classes": len(self._sweeps.there), "best_class": best}
        summary["best_success_rate"] = self._classes[best].success
        summary["tested_class"] = None if self._check is None else self._check.trial.pair[1]
        digest = 0
        for distribution in self._classes:
            digest = distribution.digest(digest)
        return json.dumps(summary | {"digest": digest})

    def _pairs(self, target: int, rng: np.random.Generator) -> IntArray:
        """Sample and image, (samples, 2); both of a pair have the same image."""
        there, half = speaking(self._task, self._ranking, target), self._config.samples // 2
        chosen = rng.choice(there, size=half, replace=half > len(there))
        return np.column_stack([np.arange(2 * half), np.tile(chosen, 2)]).astype(np.int32)

    def _update(self, evidence: Evidence) -> None:
        """A step of every class that was asked about, on the answers to its own pictures, or in a shared step to all.

        In the first step all distributions are the same, so that no answer is biased.
        """
        ahead, shared = margins(evidence.score).astype(np.float32), self._config.shared and self._rounds == 1
        noise = np.concatenate(list(self._noises.values()))
        for c, own in zip(self._noises, np.split(np.arange(len(noise)), len(self._noises)), strict=True):
            rows = np.flatnonzero(evidence.valid[:, c]) if shared else own
            self._classes[c].update(noise[rows], ahead[rows, c], float(evidence.hit[rows, c].mean()))
        self._noises = {}
        if self._config.halving:
            self._sweeps.stepped({c: self._classes[c].margin for c in self._sweeps.there})

    def _next_check(self) -> Check | None:
        """The mean picture of the most successful class whose picture is due for a trial."""
        due = [c for c in range(self._task.n_classes) if self._classes[c].due()]
        if not due:
            return None
        target = max(due, key=lambda c: self._classes[c].success)
        self._classes[target].checked = self._classes[target].steps
        there = speaking(self._task, self._ranking, target)
        rng = stream(self._seed, "picture nes", "check", self._rounds)
        few = rng.permutation(there)[: self._config.picture.required_trials]
        return Check(self._classes[target].picture(), PairTrial((0, target), few))

    def _after(self, check: Check, evidence: Evidence) -> Check | None:
        """The trial after these answers, None once it is decided."""
        trial, target, family = check.trial.after(evidence), check.trial.pair[1], self._config.picture
        if not check.screened:
            enough = (trial.hits + 0.5) / (trial.trials + 1) >= family.required_success
            testing = PairTrial((0, target), speaking(self._task, self._testing, target))
            return Check(check.picture, testing, screened=True) if enough else None
        if (passes := trial.passes(family.screen)) is None:
            return replace(check, trial=trial)
        if passes:
            rate = trial.hits / trial.trials
            size = check.picture.mask_size
            self._passed[target] = ClassResult(target, check.picture, size, rate, censored=False, test=family.test)
        return None

    def _result(self, target: int) -> ClassResult:
        if (passed := self._passed.get(target)) is not None:
            return replace(passed, trigger=passed.trigger.copied())
        distribution = self._classes[target]
        if not distribution.steps:
            return untried(target, self._task.image_shape)
        picture = distribution.picture()
        return ClassResult(target, picture, picture.mask_size, distribution.success, censored=True)


PICTURES = preset("race-pictures")


def climbing(**settings: Any) -> Preset:
    """The climb with other settings, under the rule and the tests of `race-pictures`; by labels with more samples."""
    labels = PictureNesConfig(**{"samples": 20} | settings)
    return replace(PICTURES, search=PictureNesConfig(**settings), labels=labels)


def racing(queries: int) -> Preset:
    """`race-pictures` with another budget."""
    assert isinstance(PICTURES.search, PictureRaceConfig)
    assert isinstance(PICTURES.labels, PictureRaceConfig)
    longer = replace(PICTURES, search=replace(PICTURES.search, queries=queries))
    return replace(longer, labels=replace(PICTURES.labels, queries=queries))


HALVED = climbing()
"""Classes compared: the better half goes on."""

OWN_ANSWERS = climbing(shared=False)
"""The same, but an answer counts for the class alone whose picture was asked about."""

EQUAL = climbing(halving=False, shared=False)
"""Equally many steps for every class, each on its own answers, as B3D."""

FAINT = climbing(picture=PictureFamily(largest_alpha=0.2))
"""As `HALVED`, with the picture at 0.2 of the image, above which no tune victim was trained."""

LONG_RACE = racing(20_000)
"""`race-pictures` with as many queries as the climb may take."""
