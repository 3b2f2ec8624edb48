"""The decision rules, as pure functions of the classes' triggers, and the verdict made of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from simkit.errors import ConfigError
from simkit.triggers import Trigger

Kind: TypeAlias = Literal["backdoored", "clean", "undecided", "invalid"]
Stopped: TypeAlias = Literal["decided", "budget", "converged", "refused"]


@dataclass(frozen=True, eq=False)
class ClassResult:
    """The best trigger so far for one class.

    success_rate: hits over queries that answer for it, None before any; on search images in a search's own results, on
    images the search did not use in a verdict. censored: no trigger reached the required success, and this is the
    largest that failed, as far as the search remembers. trials: queries behind a verdict's success rate, else 0.
    """

    target_class: int
    trigger: Trigger
    mask_size: float
    success_rate: float | None
    censored: bool
    trials: int = 0


@dataclass(frozen=True)
class Decision:
    """What a rule says: the classes it flags, in order, and one score, higher is more suspicious."""

    flagged: tuple[int, ...]
    score: float


@dataclass(frozen=True)
class Rule:
    """A decision rule with its name, its threshold and where that threshold came from.

    scale: what the score is at a threshold, None where the score is on no scale with it. limit: the mask size in pixels
    below which the rule flags (`small_patch`: also at it), of the sizes of all classes and the threshold.
    """

    name: str
    threshold: float
    source: str
    decide: Callable[[Sequence[ClassResult], float], Decision]
    scale: Callable[[float], float | None] | None = None
    limit: Callable[[Sequence[float], float], float] | None = None

    @property
    def score_threshold(self) -> float | None:
        """The rule flags a class just when its score is above this; None where no score says so."""
        return None if self.scale is None else self.scale(self.threshold)

    def size_limit(self, sizes: Sequence[float]) -> float | None:
        """The mask size in pixels under which a class is flagged, of all classes' sizes; None where no size says so."""
        return None if self.limit is None or not sizes else self.limit(sizes, self.threshold)

    def __call__(self, classes: Sequence[ClassResult]) -> Decision:
        return self.decide(classes, self.threshold)


@dataclass(frozen=True, eq=False)
class Verdict:
    """What a scan concludes.

    flagged: classes whose trigger the rule singles out and unseen images confirm. classes: one result per class,
    success rates on images the search did not use. clean_accuracy: on the first check, None if it was never paid for.
    """

    verdict: Kind
    stopped: Stopped
    flagged: tuple[int, ...]
    score: float | None
    classes: tuple[ClassResult, ...]
    clean_accuracy: float | None
    notes: str = ""


def below_median(classes: Sequence[ClassResult], fraction: float) -> Decision:
    """Flag every class whose mask size is below `fraction` of the median; score log(median / smallest).

    A censored class stands in the median with the size of the largest trigger that failed: a working one, had the
    search found it, would most likely be larger still. It is never flagged. Sizes below one pixel count as one.
    """
    median = _median([c.mask_size for c in classes])
    reached = {c.target_class: max(c.mask_size, 1.0) for c in classes if not c.censored}
    flagged = tuple(c for c, size in reached.items() if size < fraction * median)
    return Decision(flagged, math.log(median / min(reached.values())) if reached else 0.0)


def below_median_limit(sizes: Sequence[float], fraction: float) -> float:
    """The mask size that `below_median` flags below."""
    return fraction * _median(sizes)


def _median(sizes: Sequence[float]) -> float:
    return float(np.median(np.maximum(sizes, 1.0)))


def ratio_score(fraction: float) -> float | None:
    """The score of `below_median` where the smallest size is `fraction` of the median; None for none."""
    return -math.log(fraction) if fraction > 0.0 else None


def lower_anomaly_index(classes: Sequence[ClassResult], threshold: float) -> Decision:
    """Flag sizes more than `threshold` deviations (1.4826 MAD) below the median; score the largest such deviation.

    Lower side only: an abnormally large mask is no backdoor. Where almost all sizes agree (MAD 0) the deviation is
    taken as half a pixel. Censored sizes count as they stand and are never flagged.
    """
    sizes = np.array([c.mask_size for c in classes])
    index = deviations_below(sizes, _LEAST_DEVIATION)
    usable = [(c.target_class, float(i)) for c, i in zip(classes, index, strict=True) if not c.censored]
    return Decision(tuple(c for c, i in usable if i > threshold), max((i for _, i in usable), default=0.0))


def deviations_below(values: NDArray[np.float64], least: float) -> NDArray[np.float64]:
    """By how many deviations (1.4826 MAD, at least `least`) each value lies below the median: the anomaly index.

    least: above 0, for values that almost all agree. Negated values give the index of the upper side.
    """
    index: NDArray[np.float64] = (np.median(values) - values) / _deviation(values, least)
    return index


def anomaly_limit(sizes: Sequence[float], threshold: float) -> float:
    """The mask size that `lower_anomaly_index` flags below; may be negative: then it flags none."""
    return float(np.median(sizes)) - threshold * _deviation(np.asarray(sizes), _LEAST_DEVIATION)


_LEAST_DEVIATION = 0.5
"""Half a pixel."""

_MAD_OF_NORMAL = 0.6744897501960817
"""The median absolute deviation of a standard normal variable: its third quartile."""


def _deviation(values: NDArray[np.float64], least: float) -> float:
    spread = float(np.median(np.abs(values - np.median(values)))) / _MAD_OF_NORMAL
    return max(spread, least)


def small_patch_limit(_sizes: Sequence[float], largest: float) -> float:
    """The mask size that `small_patch` still flags."""
    return largest


def small_patch(classes: Sequence[ClassResult], largest: float) -> Decision:
    """Flag every class with a working trigger of at most `largest` pixels; score the best success rate among them."""
    return _working([c for c in classes if c.mask_size <= largest])


def small_share(classes: Sequence[ClassResult], largest: float) -> Decision:
    """Flag every class with a working trigger of at most `largest` of the image; score the best success rate of those.

    A pixel is always small enough.
    """
    return _working([c for c in classes if c.mask_size <= max(largest * c.trigger.mask.size, 1.0)])


def _working(small: Sequence[ClassResult]) -> Decision:
    flagged = tuple(c.target_class for c in small if not c.censored)
    return Decision(flagged, max((c.success_rate for c in small if c.success_rate is not None), default=0.0))


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "below_median": Rule(
            *("below_median", 0.25, "all four unofficial implementations of B3D"),
            *(below_median, ratio_score, below_median_limit),
        ),
        "anomaly_index": Rule(
            "anomaly_index", 2.0, "Neural Cleanse, lower side only", lower_anomaly_index, float, anomaly_limit
        ),
        "small_patch": Rule(
            *("small_patch", 16.0, "the default: 4x4 pixels, the largest patch of the prototype race"),
            *(small_patch, None, small_patch_limit),
        ),
        "small_share": Rule(
            "small_share", 1 / 64, "the default: 4x4 of 32x32 pixels, as the prototype race", small_share
        ),
    }
)
"""The rules by name; each threshold is a default with its source, not a fitted value."""


def stored_rule(name: str, threshold: float | None) -> Rule | None:
    """The rule that a ledger names, with the threshold kept there; None for one that is not known here."""
    return None if threshold is None or name not in RULES else replace(RULES[name], threshold=threshold)


@dataclass(frozen=True)
class SequentialTest:
    """Wald's sequential probability ratio test of a trigger's success rate: `works` against `fails`.

    alpha: chance to accept a trigger of rate `fails`; beta: chance to reject one of rate `works`. Bounds
    log((1 - beta) / alpha) and log(beta / (1 - alpha)). Raises ConfigError outside 0 < fails < works < 1.
    """

    works: float = 0.85
    fails: float = 0.5
    alpha: float = 0.001
    beta: float = 0.001

    def __post_init__(self) -> None:
        if not 0 < self.fails < self.works < 1 or not 0 < self.alpha < 0.5 or not 0 < self.beta < 0.5:
            raise ConfigError(f"{self}; need 0 < fails < works < 1 and error rates in (0, 0.5)")

    def log_ratio(self, hits: int, trials: int) -> float:
        """Log-likelihood ratio of `works` over `fails` after `hits` of `trials`."""
        misses = trials - hits
        return hits * math.log(self.works / self.fails) + misses * math.log((1 - self.works) / (1 - self.fails))

    def decide(self, hits: int, trials: int) -> bool | None:
        """True: it works. False: it does not. None: more images are needed."""
        ratio = self.log_ratio(hits, trials)
        if ratio >= math.log((1 - self.beta) / self.alpha):
            return True
        return False if ratio <= math.log(self.beta / (1 - self.alpha)) else None


def is_chance(correct: int, images: int, n_classes: int) -> bool:
    """Whether `correct` of `images` clean answers may be guessing (one-sided binomial test at level 0.01)."""
    rate = 1 / n_classes
    if images > 1000:  # more ways to choose some of them than a float can count
        from scipy import special  # slow to import

        return bool(special.bdtrc(correct - 1, images, rate) > 0.01)
    likely = (math.comb(images, k) * rate**k * (1 - rate) ** (images - k) for k in range(correct, images + 1))
    return math.fsum(likely) > 0.01
