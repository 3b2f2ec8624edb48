"""TABOR (Guo et al., 2019, arXiv 1908.01763): Neural Cleanse's search under four regularisers.

Nobody here has the authors' code; terms and constants are those of a public one, UsmannK/TABOR, tabor/snooper.py, whose
faults `regularisers` names. Different from it: the trigger kept is the smallest that works, not the one of least loss.
The paper's own measure of a trigger, by which it judges, is in no code found: the rule here looks at mask sizes.

With that code's weights a mask of any size is as good as free, while what is left outside it is dear, by its squares in
0..255: masks grow, to over half of the image on a planted victim, and their sizes tell nothing. So `reference` is that
code's objective for whoever wants it, and no yardstick; `quick` is one, with weights of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import torch

from simkit.detectors.access import WeightAccess
from simkit.detectors.whitebox.inspection import Inspection, inspect, schedule_name
from simkit.detectors.whitebox.inversion import Batch, InversionConfig, Terms, attack, invert
from simkit.detectors.whitebox.neural_cleanse import QUICK as QUICK_SEARCH
from simkit.detectors.whitebox.regularisers import (
    LogProbabilities,
    blocking,
    outside,
    overlaying,
    overly_large,
    scattered,
)
from simkit.errors import ConfigError
from simkit.search.presets import rule
from simkit.search.sparsity import SparsityConfig
from simkit.verdict import Verdict

REFERENCE = InversionConfig(
    steps=200,
    batches=31,
    batch=32,
    learning_rate=1e-3,
    sparsity=SparsityConfig(weight=1.0, least=1.0, most=1.0, required_success=0.99),  # it never moves
    from_zero=False,
)
"""That code's schedule, but for its pass over a whole data set a step: 31 minibatches, as Neural Cleanse has."""


@dataclass(frozen=True)
class Weights:
    """What each regulariser weighs; one of weight 0 is not computed and costs no pass.

    mask_size, outside_size: R1 of the mask and of the pattern outside it. mask_scatter, outside_scatter: R2 likewise.
    blocking: R3. overlaying: R4. colours: the largest value of a pattern where R1 and R2 are taken of it: their
    squares make weights for 0..255 and for 0..1 differ by up to 255^2. By default the public code's, R3 off as there.
    """

    mask_size: float = 1e-6
    outside_size: float = 1e-5
    mask_scatter: float = 1e-7
    outside_scatter: float = 1e-8
    blocking: float = 0.0
    overlaying: float = 1e-2
    colours: float = 255.0

    def __post_init__(self) -> None:
        if min(vars(self).values()) < 0 or self.colours == 0:
            raise ConfigError("the weights of TABOR must be 0 or more, colours above 0")

    def penalty(self, masks: torch.Tensor, patterns: torch.Tensor) -> torch.Tensor:
        """The terms that the schedule's weight multiplies, R1 and R2: (K, 1, H, W) and (K, C, H, W) to (K,)."""
        rest = self.colours * outside(masks, patterns)
        size = self.mask_size * overly_large(masks) + self.outside_size * overly_large(rest)
        return size + self.mask_scatter * scattered(masks) + self.outside_scatter * scattered(rest)

    def objective(self, log_probabilities: LogProbabilities, batch: Batch) -> Terms:
        """Cross entropy against the target + R3 + R4 + the schedule's weight * (R1 + R2)."""
        loss, success = attack(log_probabilities, batch)
        if self.blocking > 0:
            loss = loss + self.blocking * blocking(log_probabilities, batch.masks, batch.images, batch.labels)
        if self.overlaying > 0:
            loss = loss + self.overlaying * overlaying(log_probabilities, batch.masks, batch.patterns, batch.targets)
        return Terms(loss, self.penalty(batch.masks, batch.patterns), success)


QUICK_WEIGHTS = Weights(1.0, 1e-2, 1e-1, 1e-3, 1e-1, 1e-1, 1.0)
"""Ours, for patterns in 0..1: the mask's size leads, as in Neural Cleanse, and no other term weighs above a tenth.
The only ones tried, and on victims of the zoo `cifar10-tune` alone."""


@dataclass(frozen=True)
class Tabor:
    """Satisfies `Detector[WeightAccess]`. search: a schedule. weights: of the regularisers. rule, seed: see
    `NeuralCleanse`."""

    search: InversionConfig = REFERENCE
    weights: Weights = field(default_factory=Weights)
    rule: str = "anomaly_index"
    seed: int = 0

    @property
    def schedule(self) -> str:
        """`reference`, `quick`, or `custom` for any other settings."""
        return schedule_name(self, PRESETS)

    def detect(self, access: WeightAccess) -> Verdict:
        """The verdict alone; see `inspect`."""
        return self.inspect(access).verdict

    def inspect(self, access: WeightAccess) -> Inspection:
        """The verdict and its cost; see `whitebox.inspection.inspect`. Raises ConfigError for no such rule."""
        terms = self.weights.objective
        return inspect(
            access,
            lambda model, images, targets: invert(model, images, targets, terms, self.search, self.seed),
            rule(self.rule),
            self.schedule,
        )


PRESETS: Mapping[str, Tabor] = MappingProxyType({"reference": Tabor(), "quick": Tabor(QUICK_SEARCH, QUICK_WEIGHTS)})
"""The detector's named settings; `quick` is ours and never to be quoted as TABOR."""
