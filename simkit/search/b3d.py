"""B3D (Dong et al., ICCV 2021, as described by its slides): a trigger for every class by natural evolution strategies.

The defaults of `B3DConfig` are the preset `b3d-slides`. The slides give the estimators but no constants, so each
constant names its source. *Implementations*: three or more unofficial implementations agree, and one of them attributes
the number to the paper's appendix; *one implementation*: a single one uses it; *ours*: chosen here.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias

import numpy as np

from simkit.errors import ConfigError
from simkit.search.adam import Adam
from simkit.search.contract import AskTell, Evidence, Proposal, Search, Task
from simkit.search.estimators import leave_one_out, mask_gradient, pattern_gradient, sparsity_gradient, squash
from simkit.search.lengths import Breadth
from simkit.search.needs import Lacking, all_lack, others, short_of
from simkit.search.sparsity import Sparsity, SparsityConfig
from simkit.seeding import stream
from simkit.triggers import FloatArray, IntArray, Trigger, Triggers
from simkit.verdict import ClassResult

Baseline: TypeAlias = Literal["none", "leave_one_out"]


@dataclass(frozen=True)
class B3DConfig:
    """The settings of a B3D search over all classes. The slides call `samples` k and `sparsity.weight` lambda."""

    known_as: ClassVar[str] = "simkit.search.b3d_config.B3DConfig"  # in run keys and ledgers, wherever it lives

    samples: int = 50  # implementations
    """Candidates per step and estimator: k of the slides."""
    images: int = 128  # implementations: their batch size
    """Search images on which each candidate is stamped."""
    steps: int = 1000  # one implementation
    """Update steps per class."""
    sigma: float = 0.1  # implementations
    """Standard deviation of the pattern's search distribution: sigma of the slides."""
    learning_rate: float = 0.05  # implementations
    """Learning rate of Adam, with betas (0.9, 0.999)."""
    mask_init: float = -1.14  # one implementation
    """Initial value of the mask parameter theta_m; g(-1.14) = 0.093."""
    mask_limit: float | None = None
    """Bound on |theta_m|, which keeps every super-pixel in the search; None for no bound."""
    grid: int | None = None
    """Super-pixels of the mask along the longer side of the image, each at least one pixel; None for one per pixel."""
    baseline: Baseline = "none"
    """Control variate that is subtracted from each loss: `none` or `leave_one_out`."""
    joint: bool = False
    """Sample mask and pattern together, so that one loss serves both gradients; otherwise half the queries each
    (slides)."""
    antithetic: bool = False
    """Draw the noise of the pattern in pairs of opposite sign."""
    exact_sparsity: bool = False
    """Add the gradient of the sparsity term in closed form instead of sampling it."""
    check_every: int = 10  # ours
    """Steps between two checks of the binarised trigger."""
    check_images: int = 20  # ours
    """Images per check of the binarised trigger."""
    required_success: float = 0.95  # ours; the implementations use 0.99 on more images
    """Success rate on the check images that a trigger must reach to count."""
    sparsity: SparsityConfig = field(default_factory=SparsityConfig)
    """The schedule of the sparsity weight: lambda of the slides."""

    def __post_init__(self) -> None:
        counts = (self.samples, self.images, self.steps, self.check_every, self.check_images)
        if min(*counts, 1 if self.grid is None else self.grid) < 1:
            raise ConfigError("samples, images, steps, grid, check_every and check_images of B3D must be 1 or more")
        if self.sigma <= 0 or self.learning_rate <= 0 or not 0 < self.required_success <= 1:
            raise ConfigError("sigma and learning_rate must be above 0, required_success in (0, 1]")
        if self.mask_limit is not None and self.mask_limit < abs(self.mask_init):
            raise ConfigError(f"mask_limit is {self.mask_limit}; give at least |mask_init| = {abs(self.mask_init)}")
        if self.antithetic and self.samples % 2:
            raise ConfigError(f"antithetic noise needs an even number of samples, not {self.samples}")
        if self.baseline == "leave_one_out" and self.samples < 4:
            raise ConfigError(f"a leave-one-out baseline needs 4 samples or more, not {self.samples}")

    def full_length(self, n_classes: int) -> int:
        """See `Bounded`."""
        samples, checks = self.samples * (1 if self.joint else 2), self.steps // self.check_every
        return n_classes * (self.steps * samples * self.images + checks * self.check_images)

    def search(self, task: Task, seed: int) -> Search:
        """See `SearchConfig`. Raises ConfigError if all search images are of one class."""
        return B3D(self, task, seed)

    def lacking(self, task: Task) -> Lacking:
        """See `Demanding`: one image is enough for a check of the binarised trigger, if that has a mask by then."""
        if self.steps < self.check_every:
            return all_lack(task.n_classes, f"{self.check_every} steps, the first check; raise search.steps")
        # a step of Adam is about as long as its learning rate, and a check sees the steps before it
        least = 1 + math.ceil(min(max(0.0, -self.mask_init / self.learning_rate), 1e9))
        if self.steps // self.check_every * self.check_every < least:
            return all_lack(task.n_classes, f"{least:,} steps, for a mask to have a pixel; raise search.steps")
        return short_of(others(task.image_classes, task.n_classes), 1, "search")

    def breadth(self, task: Task) -> Breadth:
        """See `Broad`."""
        return Breadth(self.steps * self.samples, "samples for each class", "search.steps or samples")

    def smallest_mask(self, image_shape: tuple[int, int, int]) -> int:
        """See `Coarse`: one super-pixel, which the edge of the image may cut."""
        tile = self.tile(image_shape)
        height, width = (side - (-(-side // tile) - 1) * tile for side in image_shape[1:])
        return height * width

    def tile(self, image_shape: tuple[int, int, int]) -> int:
        """Pixels along the side of one super-pixel of the mask."""
        return 1 if self.grid is None else max(1, round(max(image_shape[1:]) / self.grid))


@dataclass(frozen=True, eq=False)
class Samples:
    """The random draws of one step: masks (k, h, w) in {0, 1} on the grid, noise (k, C, H, W) on the pixels."""

    masks: FloatArray
    noise: FloatArray


@dataclass(frozen=True, eq=False)
class Best:
    """A binarised trigger, its size in pixels, and its success rate on the check images."""

    trigger: Trigger
    mask_size: float
    success_rate: float


class ClassDistribution:
    """The search distribution pi(m, p | theta_m, theta_p) of one target class, updated by Adam."""

    def __init__(self, config: B3DConfig, image_shape: tuple[int, int, int]) -> None:
        channels, height, width = image_shape
        self._config, self._shape = config, image_shape
        self._tile = config.tile(image_shape)
        tiles = (-(-height // self._tile), -(-width // self._tile))
        self._mask: FloatArray = np.full(tiles, config.mask_init, dtype=np.float32)
        self._pattern: FloatArray = np.zeros((channels, height, width), dtype=np.float32)
        self._window: FloatArray | None = None
        self._adams = [Adam(value, config.learning_rate) for value in (self._mask, self._pattern)]
        self.sparsity = Sparsity(config.sparsity.weight)
        self.best: Best | None = None
        self.largest_failure: Best | None = None
        self.loss: float | None = None  # mean cross-entropy of the last step's samples

    def begin_at(self, mask: FloatArray, pattern: FloatArray, window: FloatArray) -> None:
        """Set both means, theta_m (h, w) on the grid and theta_p (C, H, W), before the first update.

        window: (h, w) in {0, 1}; where it is 0, the mask stays 0.
        """
        self._mask[...], self._pattern[...] = mask, pattern
        self._window = window

    @property
    def probabilities(self) -> FloatArray:
        """g(theta_m) on the grid, 0 outside the window if there is one."""
        inside = squash(self._mask)
        return inside if self._window is None else inside * self._window

    @property
    def expected_mask_size(self) -> float:
        """The mean L1 norm of a sampled mask, in pixels."""
        return float(self.probabilities.sum()) * self._tile**2

    def digest(self) -> int:
        """A checksum of both means, which shows at once if a replay computes different numbers."""
        return zlib.crc32(self._pattern.tobytes(), zlib.crc32(self._mask.tobytes()))

    def sample(self, rng: np.random.Generator) -> Samples:
        """m_j ~ Bern(g(theta_m)) and eps_j ~ N(0, I); antithetic noise has eps_{j + k/2} = -eps_j."""
        k, g = self._config.samples, self.probabilities
        masks = (rng.random((k, *g.shape), dtype=np.float32) < g).astype(np.float32)
        if self._config.antithetic:
            half = rng.standard_normal((k // 2, *self._pattern.shape), dtype=np.float32)
            return Samples(masks, np.concatenate([half, -half]))
        return Samples(masks, rng.standard_normal((k, *self._pattern.shape), dtype=np.float32))

    def candidates(self, samples: Samples) -> Triggers:
        """The triggers to query: (m_j, p_j) jointly, or (m_j, g(theta_p)) and then (g(theta_m), p_j) (slides)."""
        theta = self._pattern
        patterns = squash(theta + np.float32(self._config.sigma) * samples.noise)
        if self._config.joint:
            return self._full(samples.masks, patterns)
        means = np.broadcast_to(squash(theta), patterns.shape)
        soft = np.broadcast_to(self.probabilities, samples.masks.shape)
        return self._full(np.concatenate([samples.masks, soft]), np.concatenate([means, patterns]))

    def binarised(self) -> Trigger:
        """The mean trigger with its mask thresholded at one half."""
        mask = (self.probabilities >= 0.5).astype(np.float32)
        return self._full(mask[None], squash(self._pattern)[None])[0]

    def update(self, samples: Samples, losses: FloatArray, success_rate: float) -> None:
        """One step of Adam. losses: each candidate's mean cross-entropy, float32 (k,) if `joint`, otherwise (2k,)."""
        config, k, g = self._config, len(samples.masks), self.probabilities
        self.loss = float(losses.mean())
        mask_losses, pattern_losses = losses[:k], losses[:k] if config.joint else losses[k:]
        weight = np.float32(self.sparsity.of_step(success_rate, config.sparsity) * self._tile**2)
        if not config.exact_sparsity:
            mask_losses = mask_losses + weight * samples.masks.sum(axis=(1, 2))
            pattern_losses = pattern_losses + weight * g.sum()
        mask_grad = mask_gradient(self._centred(mask_losses), samples.masks, g)
        if config.exact_sparsity:
            mask_grad = mask_grad + weight * sparsity_gradient(g)
        pattern_grad = pattern_gradient(self._centred(pattern_losses), samples.noise, config.sigma)
        for adam, gradient in zip(self._adams, (mask_grad, pattern_grad), strict=True):
            adam.step(gradient.astype(np.float32, copy=False))
        if config.mask_limit is not None:
            np.clip(self._mask, -config.mask_limit, config.mask_limit, out=self._mask)
        self.sparsity = self.sparsity.after(success_rate, config.sparsity)

    def look(self, trigger: Trigger, success_rate: float) -> None:
        """Keep the binarised trigger if it is the smallest that works so far, or the largest that does not."""
        seen, failure = Best(trigger, trigger.mask_size, success_rate), self.largest_failure
        if success_rate >= self._config.required_success:
            self.best = seen if self.best is None or seen.mask_size < self.best.mask_size else self.best
        elif failure is None or seen.mask_size > failure.mask_size:
            self.largest_failure = seen

    def _centred(self, losses: FloatArray) -> FloatArray:
        if self._config.baseline == "none":
            return losses
        return leave_one_out(losses, 2 if self._config.antithetic else 1)

    def _full(self, masks: FloatArray, patterns: FloatArray) -> Triggers:
        _, height, width = self._shape
        masks = _enlarge(masks, self._tile, height, width)[:, None]
        return Triggers(np.ascontiguousarray(masks), np.ascontiguousarray(patterns))


@dataclass(frozen=True, eq=False)
class _Turn:
    """The contents of one proposal: its class, its samples, the images per candidate, and the checked trigger if
    any."""

    target: int
    samples: Samples
    images: int
    checked: Triggers | None


class B3D:
    """A B3D search: classes take turns, one step each, so that their masks are comparable after every round.

    Satisfies `Search`. only: the classes to search, None for all; the draws of a class do not depend on the others.
    """

    def __init__(self, config: B3DConfig, task: Task, seed: int, only: Collection[int] | None = None) -> None:
        self._config, self._task, self._seed = config, task, seed
        self._classes = [ClassDistribution(config, task.image_shape) for _ in range(task.n_classes)]
        self._usable = [np.flatnonzero(task.image_classes != c).astype(np.int32) for c in range(task.n_classes)]
        self._searched = [c for c in (range(task.n_classes) if only is None else only) if len(self._usable[c])]
        self._guard = AskTell(task.n_classes, len(task.image_classes))
        self._turns_done = 0
        self._turn: _Turn | None = None

    @property
    def rounds(self) -> int:
        return self._turns_done // len(self._searched)

    def ask(self) -> Proposal | None:
        """One step of the next class: its samples, and at every check its binarised trigger on more images."""
        if self.rounds >= self._config.steps:
            return None
        step, target = self._next()
        rng = stream(self._seed, "b3d", target, step)
        samples = self._classes[target].sample(rng)
        triggers = self._classes[target].candidates(samples)
        images = self._pick(rng, target, self._config.images)
        pairs = all_pairs(len(triggers), images)
        checked = None
        if (step + 1) % self._config.check_every == 0:
            checked = Triggers.of([self._classes[target].binarised()])
            look = self._pick(rng, target, self._config.check_images)
            pairs = np.concatenate([pairs, np.column_stack([np.full_like(look, len(triggers)), look])])
            triggers = Triggers(
                np.concatenate([triggers.masks, checked.masks]), np.concatenate([triggers.patterns, checked.patterns])
            )
        proposal = self._guard.asked(Proposal(triggers, pairs))
        self._turn = _Turn(target, samples, len(images), checked)
        return proposal

    def tell(self, evidence: Evidence) -> None:
        self._guard.told(evidence)
        turn = self._turn
        assert turn is not None
        distribution, c = self._classes[turn.target], turn.target
        count = len(turn.samples.masks) * (1 if self._config.joint else 2) * turn.images
        losses = -evidence.score[:count, c].reshape(-1, turn.images).mean(axis=1)
        if turn.checked is not None:
            distribution.look(turn.checked[0], float(evidence.hit[count:, c].mean()))
        distribution.update(turn.samples, losses, float(evidence.hit[:count, c].mean()))
        self._turns_done += 1

    def results(self) -> tuple[ClassResult, ...]:
        return tuple(self._result(c) for c in range(self._task.n_classes))

    def state(self) -> str:
        """The round, the class, the loss of its last step (None before the first), its sparsity weight, expected and
        best
        mask size, and a checksum of its means."""
        _, target = self._next()
        distribution = self._classes[target]
        size = distribution.expected_mask_size
        best = None if distribution.best is None else distribution.best.mask_size
        turn = {"round": self.rounds, "class": target, "loss": distribution.loss}
        sizes = {"expected_mask_size": size, "best_mask_size": best}
        weight = {"sparsity_weight": distribution.sparsity.weight}
        return json.dumps(turn | weight | sizes | {"digest": distribution.digest()})

    def _next(self) -> tuple[int, int]:
        """The step and the class of the next turn. A class to which every image belongs is not searched."""
        step, turn = divmod(self._turns_done, len(self._searched))
        return step, self._searched[turn]

    def _pick(self, rng: np.random.Generator, target: int, count: int) -> IntArray:
        usable = self._usable[target]
        return rng.choice(usable, size=min(count, len(usable)), replace=False)

    def _result(self, target: int) -> ClassResult:
        distribution = self._classes[target]
        best = distribution.best or distribution.largest_failure
        if best is None:
            trigger = distribution.binarised()
            return ClassResult(target, trigger, trigger.mask_size, None, censored=True)
        censored = distribution.best is None
        copied = Trigger(best.trigger.mask.copy(), best.trigger.pattern.copy())
        return ClassResult(target, copied, best.mask_size, best.success_rate, censored)


def all_pairs(candidates: int, images: IntArray) -> IntArray:
    """Every candidate on every image, candidate by candidate."""
    first = np.repeat(np.arange(candidates, dtype=np.int32), len(images))
    return np.column_stack([first, np.tile(images, candidates)]).astype(np.int32, copy=False)


def _enlarge(tiles: FloatArray, side: int, height: int, width: int) -> FloatArray:
    """Every tile of (..., h, w) enlarged to side x side pixels, cropped to (..., height, width)."""
    if side == 1:
        return np.ascontiguousarray(tiles, dtype=np.float32)
    pixels = tiles.repeat(side, axis=-2).repeat(side, axis=-1)
    return np.ascontiguousarray(pixels[..., :height, :width], dtype=np.float32)
