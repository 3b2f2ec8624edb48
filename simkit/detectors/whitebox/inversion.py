"""The gradient search for the smallest trigger of every class, which Neural Cleanse and TABOR share."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from simkit.data import ImageSet
from simkit.detectors.whitebox.penalty import Improvement, PenaltyWeight
from simkit.detectors.whitebox.regularisers import LogProbabilities
from simkit.detectors.whitebox.white_model import WhiteModel
from simkit.errors import ConfigError
from simkit.search.sparsity import SparsityConfig
from simkit.seeding import stream
from simkit.triggers import Trigger, stamp
from simkit.verdict import ClassResult


@dataclass(frozen=True)
class InversionConfig:
    """A schedule of the search."""

    steps: int
    """Most steps per class."""
    batches: int
    """Minibatches per step; the penalty's weight follows the mean success rate over a step."""
    batch: int
    """Images per minibatch, none of the target class; if a step needs more images than there are, they are repeated."""
    learning_rate: float
    """Learning rate of Adam."""
    betas: tuple[float, float] = (0.5, 0.9)
    """Betas of Adam."""
    sparsity: SparsityConfig = field(default_factory=SparsityConfig)
    """The schedule of the penalty's weight, and the success rate that a trigger needs to count."""
    memory: int = 1
    """Steps over which that success rate is averaged, so that one lucky minibatch does not count."""
    from_zero: bool = True
    """Keep the weight at 0 until a trigger works."""
    stop_ratio: float = 1.0
    """A class ends if its weight was raised and lowered and its mask stays above this share of its best size."""
    stop_patience: int = 25
    """Number of steps for which the mask must stay there."""
    classes_at_once: int = 1
    """Classes per pass of the model, which saves little on CPUs; results only differ by rounding."""

    def __post_init__(self) -> None:
        counts = self.steps, self.batches, self.batch, self.memory, self.stop_patience, self.classes_at_once
        if min(counts) < 1:
            raise ConfigError("steps, batches, batch, memory, stop_patience and classes_at_once must be 1 or more")
        if self.learning_rate <= 0 or not all(0 <= beta < 1 for beta in self.betas) or self.stop_ratio <= 0:
            raise ConfigError("learning_rate and stop_ratio must be above 0, Adam's betas in [0, 1)")


@dataclass(frozen=True, eq=False)
class Batch:
    """One minibatch of K classes: images (K, B, C, H, W), labels int64 (K, B), targets int64 (K,), and the triggers,
    masks (K, 1, H, W) and patterns (K, C, H, W), with gradients."""

    images: torch.Tensor
    labels: torch.Tensor
    targets: torch.Tensor
    masks: torch.Tensor
    patterns: torch.Tensor


@dataclass(frozen=True, eq=False)
class Terms:
    """The terms of the objective loss + weight * penalty, and the success rate on the batch; each (K,)."""

    loss: torch.Tensor
    penalty: torch.Tensor
    success: torch.Tensor


Objective: TypeAlias = Callable[[LogProbabilities, Batch], Terms]


def attack(log_probabilities: LogProbabilities, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean cross-entropy of the stamped images against the target, and the success rate; each (K,)."""
    stamped = stamp(batch.images, batch.masks[:, None], batch.patterns[:, None])
    rows = log_probabilities(stamped.flatten(0, 1)).reshape(*batch.labels.shape, -1)
    wanted = batch.targets[:, None, None].expand(-1, rows.shape[1], 1)
    hit = rows.detach().argmax(dim=2) == batch.targets[:, None]
    return -rows.gather(2, wanted).mean(dim=(1, 2)), hit.float().mean(dim=1)


def invert(
    model: WhiteModel,
    images: ImageSet,
    targets: Sequence[int],
    objective: Objective,
    config: InversionConfig,
    seed: int,
) -> list[ClassResult]:
    """The smallest working trigger of every target class, with success rates on these images.

    images: labelled, with images of other classes for each target. A class's result does not depend on the other
    targets, except for rounding if several are in one pass. Raises ModelError, NotFinite.
    """
    results: list[ClassResult] = []
    for start in range(0, len(targets), config.classes_at_once):
        together = targets[start : start + config.classes_at_once]
        classes = [ClassInversion(c, images, config, seed, model.device) for c in together]
        for step in range(config.steps):
            going = [c for c in classes if not c.finished]
            if going:
                _step(model, images, going, objective, step)
        results += [c.result() for c in classes]
    return results


def _step(
    model: WhiteModel, images: ImageSet, classes: Sequence[ClassInversion], objective: Objective, step: int
) -> None:
    """All minibatches of one step, with one update of every class per minibatch."""
    chosen = np.stack([c.draw(step) for c in classes])  # (K, batches, B)
    weights = torch.tensor([c.weight for c in classes], device=model.device)
    success = []
    for indices in np.moveaxis(chosen, 1, 0):
        terms = objective(model.log_probabilities, _batch(images, indices, classes, model.device))
        (terms.loss + weights * terms.penalty).sum().backward()  # type: ignore[no-untyped-call]
        for c in classes:
            c.update()
        success.append(terms.success)
    for c, rate in zip(classes, torch.stack(success).mean(dim=0).tolist(), strict=True):
        c.look(rate)


def _batch(
    images: ImageSet, indices: NDArray[np.int64], classes: Sequence[ClassInversion], device: torch.device
) -> Batch:
    return Batch(
        images.pixels[torch.from_numpy(indices)].to(device),
        torch.from_numpy(images.labels[indices].astype(np.int64)).to(device),
        torch.tensor([c.target_class for c in classes], device=device),
        torch.stack([c.mask() for c in classes]),
        torch.stack([c.pattern() for c in classes]),
    )


class ClassInversion:
    """One class: m = g(theta_m), p = g(theta_p), g(t) = (tanh(t) + 1) / 2, optimised by its own Adam.

    The initial m and p are uniform in (0, 1), as in bolunwang/backdoor, gtsrb_visualize_example.py.
    """

    def __init__(
        self, target_class: int, images: ImageSet, config: InversionConfig, seed: int, device: torch.device
    ) -> None:
        channels, height, width = images.image_shape
        self.target_class, self._config, self._seed = target_class, config, seed
        self._others = np.flatnonzero(images.labels != target_class)
        rng = stream(seed, "whitebox", "first", target_class)
        self._mask, self._pattern = (
            _unsquashed(rng.random(shape)).to(device).requires_grad_()
            for shape in ((1, height, width), (channels, height, width))
        )
        self._adam = torch.optim.Adam([self._mask, self._pattern], lr=config.learning_rate, betas=config.betas)
        self._penalty = PenaltyWeight.first(config.sparsity, config.from_zero)
        self._improvement = Improvement()
        self._recent: deque[float] = deque(maxlen=config.memory)
        self._best: ClassResult | None = None
        self._largest_failure: ClassResult | None = None
        self.finished = False

    @property
    def weight(self) -> float:
        """The factor of this class's penalty."""
        return self._penalty.weight

    def mask(self) -> torch.Tensor:
        """m, (1, H, W) in [0, 1], with its gradient."""
        return squash(self._mask)

    def pattern(self) -> torch.Tensor:
        """p, (C, H, W) in [0, 1], with its gradient."""
        return squash(self._pattern)

    def draw(self, step: int) -> NDArray[np.int64]:
        """The images of one step, int64 (batches, B): each once before any repeats, none of the target class."""
        shuffled = stream(self._seed, "whitebox", "images", self.target_class, step).permutation(self._others)
        return np.resize(shuffled, (self._config.batches, self._config.batch))

    def update(self) -> None:
        """One step of Adam with the present gradients."""
        self._adam.step()
        self._adam.zero_grad()

    def look(self, success_rate: float) -> None:
        """The end of a step: keep the smallest working trigger, then apply the rules for stopping and the weight."""
        self._recent.append(success_rate)
        config, seen = self._config, self._seen(fmean(self._recent))
        if not seen.censored and (self._best is None or seen.mask_size < self._best.mask_size):
            self._best = seen
        if seen.censored and (self._largest_failure is None or seen.mask_size > self._largest_failure.mask_size):
            self._largest_failure = seen
        smallest = math.inf if self._best is None else self._best.mask_size
        self._improvement = self._improvement.after(smallest, config.stop_ratio)
        both_ways = self._penalty.raised and self._penalty.lowered
        self.finished = both_ways and self._improvement.stale >= config.stop_patience
        self._penalty = self._penalty.after(success_rate, config.sparsity)

    def result(self) -> ClassResult:
        """The smallest trigger that worked, or else the largest that failed."""
        result = self._best or self._largest_failure
        assert result is not None  # every class has had a step
        return result

    def _seen(self, success_rate: float) -> ClassResult:
        with torch.no_grad():  # copies, so that kept triggers do not change with theta
            trigger = Trigger(self.mask().cpu().numpy().copy(), self.pattern().cpu().numpy().copy())
        failed = success_rate < self._config.sparsity.required_success
        return ClassResult(self.target_class, trigger, trigger.mask_size, success_rate, failed)


def squash(theta: torch.Tensor) -> torch.Tensor:
    """g(t) = (tanh(t) + 1) / 2, in [0, 1] (slides)."""
    return (torch.tanh(theta) + 1.0) / 2.0


def _unsquashed(values: NDArray[np.float64]) -> torch.Tensor:
    """theta with g(theta) = values, finite even for values of 0."""
    inner = np.clip(2.0 * values - 1.0, -1.0 + 1e-6, 1.0 - 1e-6)
    return torch.from_numpy(np.arctanh(inner).astype(np.float32))
