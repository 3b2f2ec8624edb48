"""TABOR (Guo et al., 2019, arXiv 1908.01763): Neural Cleanse's search under four regularisers.

We do not have the authors' code; terms and constants are those of a public implementation, UsmannK/TABOR,
tabor/snooper.py, whose errors `regularisers` lists. Unlike there, the smallest working trigger is kept and not the one
with the lowest loss. The paper's own measure for judging a trigger is in no code that we found; the rule here uses mask
sizes.

With the weights of that code the mask's size hardly counts, while the pattern outside the mask is penalised by squares
of values in 0..255: masks grow to over half of the image on a planted victim, and their sizes carry no information.
`reference` therefore reproduces that objective but is not a useful baseline; `quick`, with our own weights, is.
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
"""The schedule of that code, except that a step has 31 minibatches, as in Neural Cleanse, instead of a whole data
set."""


@dataclass(frozen=True)
class Weights:
    """The weights of the regularisers; a term of weight 0 is not computed and needs no pass.

    The defaults are those of the public code, where R3 is off.
    """

    mask_size: float = 1e-6
    """Weight of R1 of the mask."""
    outside_size: float = 1e-5
    """Weight of R1 of the pattern outside the mask."""
    mask_scatter: float = 1e-7
    """Weight of R2 of the mask."""
    outside_scatter: float = 1e-8
    """Weight of R2 of the pattern outside the mask."""
    blocking: float = 0.0
    """Weight of R3."""
    overlaying: float = 1e-2
    """Weight of R4."""
    colours: float = 255.0
    """Largest pattern value in R1 and R2; their squares make weights for 0..255 and for 0..1 differ by up to 255^2."""

    def __post_init__(self) -> None:
        if min(vars(self).values()) < 0 or self.colours == 0:
            raise ConfigError("the weights of TABOR must be 0 or more, colours above 0")

    def penalty(self, masks: torch.Tensor, patterns: torch.Tensor) -> torch.Tensor:
        """R1 and R2, which the schedule's weight multiplies: (K, 1, H, W) and (K, C, H, W) to (K,)."""
        rest = self.colours * outside(masks, patterns)
        size = self.mask_size * overly_large(masks) + self.outside_size * overly_large(rest)
        return size + self.mask_scatter * scattered(masks) + self.outside_scatter * scattered(rest)

    def objective(self, log_probabilities: LogProbabilities, batch: Batch) -> Terms:
        """Cross-entropy against the target + R3 + R4 + the schedule's weight * (R1 + R2)."""
        loss, success = attack(log_probabilities, batch)
        if self.blocking > 0:
            loss = loss + self.blocking * blocking(log_probabilities, batch.masks, batch.images, batch.labels)
        if self.overlaying > 0:
            loss = loss + self.overlaying * overlaying(log_probabilities, batch.masks, batch.patterns, batch.targets)
        return Terms(loss, self.penalty(batch.masks, batch.patterns), success)


QUICK_WEIGHTS = Weights(1.0, 1e-2, 1e-1, 1e-3, 1e-1, 1e-1, 1.0)
"""Our weights for patterns in 0..1: the mask's size dominates, as in Neural Cleanse, and all other weights are at most
0.1. They are the only ones that were tried, on victims of the zoo `cifar10-tune`."""


@dataclass(frozen=True)
class Tabor:
    """Satisfies `Detector[WeightAccess]`."""

    search: InversionConfig = REFERENCE
    """The schedule of the search."""
    weights: Weights = field(default_factory=Weights)
    """The weights of the regularisers."""
    rule: str = "anomaly_index"
    """A name in `simkit.verdict.RULES`."""
    seed: int = 0
    """Seed of the initial triggers and the order of images."""

    @property
    def schedule(self) -> str:
        """`reference`, `quick`, or `custom` for any other settings."""
        return schedule_name(self, PRESETS)

    def detect(self, access: WeightAccess) -> Verdict:
        """The verdict without its cost; see `inspect`."""
        return self.inspect(access).verdict

    def inspect(self, access: WeightAccess) -> Inspection:
        """The verdict and its cost; see `whitebox.inspection.inspect`. Raises ConfigError for an unknown rule."""
        terms = self.weights.objective
        return inspect(
            access,
            lambda model, images, targets: invert(model, images, targets, terms, self.search, self.seed),
            rule(self.rule),
            self.schedule,
        )


PRESETS: Mapping[str, Tabor] = MappingProxyType({"reference": Tabor(), "quick": Tabor(QUICK_SEARCH, QUICK_WEIGHTS)})
"""The detector's named settings; `quick` is ours and not to be cited as TABOR."""
