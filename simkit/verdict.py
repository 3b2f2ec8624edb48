"""The decision rules, which are pure functions of the classes' triggers, and the verdict of a scan."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from simkit.errors import ConfigError
from simkit.transforms.contract import Transform

Kind: TypeAlias = Literal["backdoored", "clean", "undecided", "invalid"]
Stopped: TypeAlias = Literal["decided", "budget", "converged", "refused"]


@dataclass(frozen=True, eq=False)
class ClassResult:
    """The best trigger so far for one class, of any family.

    mask_size: the pixels that it changes. success_rate: share of images that the trigger turns into the class, None
    before any trial; on search images in the results of a search, on unseen images in a verdict. censored: no trigger
    reached the required success rate, and this is the largest one that failed and was kept. trials: number of images
    behind the success rate of a verdict, otherwise 0. test: what the trigger must pass on unseen images, where its
    family has a test of its own.
    """

    target_class: int
    trigger: Transform
    mask_size: float
    success_rate: float | None
    censored: bool
    trials: int = 0
    test: SequentialTest | None = None


@dataclass(frozen=True)
class Decision:
    """The output of a rule: the flagged classes, in order, and one score; higher is more suspicious."""

    flagged: tuple[int, ...]
    score: float


@dataclass(frozen=True)
class Rule:
    """A decision rule with its name, its threshold and the source of the threshold.

    threshold: the rule's own setting, such as a share of the image; a verdict stores it as `rule_limit`. scale: the
    score above which a class is flagged at this setting; None if the rule states none. limit: the mask size in pixels
    below which the rule flags a class (`small_patch` also flags at it), from the sizes of all classes and the setting.
    working: what the score of a class gains where its trigger works.
    """

    name: str
    threshold: float
    source: str
    decide: Callable[[Sequence[ClassResult], float], Decision]
    scale: Callable[[float], float] | None = None
    limit: Callable[[Sequence[float], float], float] | None = None
    working: float = 0.0

    @property
    def score_threshold(self) -> float | None:
        """The rule flags a class if and only if its score is above this; None if it states no such score."""
        score = math.inf if self.scale is None else self.scale(self.threshold)
        return score if math.isfinite(score) else None

    def confirmed_score(self, classes: Sequence[ClassResult], confirmed: Sequence[int]) -> float:
        """The score of a verdict that flags `confirmed` only: above the threshold just when it flags a class.

        A class that the rule flags and unseen images do not confirm counts as one without a working trigger, and at
        most with the threshold.
        """
        decision, threshold = self(classes), self.score_threshold
        if set(decision.flagged) <= set(confirmed) or threshold is None:
            return decision.score
        held_back = set(decision.flagged) - set(confirmed)
        others = [replace(c, censored=c.censored or c.target_class in held_back) for c in classes]
        return max(self(others).score, min(decision.score - self.working, threshold))

    def size_limit(self, sizes: Sequence[float]) -> float | None:
        """The mask size in pixels below which a class is flagged, from all classes' sizes; None if there is none."""
        return None if self.limit is None or not sizes else self.limit(sizes, self.threshold)

    def __call__(self, classes: Sequence[ClassResult]) -> Decision:
        return self.decide(classes, self.threshold)


@dataclass(frozen=True, eq=False)
class Verdict:
    """The conclusion of a scan.

    flagged: classes whose trigger the rule flags and unseen images confirm. classes: one result per class, with success
    rates on images that the search did not use. clean_accuracy: accuracy in the first check, None if the check was not
    done.
    """

    verdict: Kind
    stopped: Stopped
    flagged: tuple[int, ...]
    score: float | None
    classes: tuple[ClassResult, ...]
    clean_accuracy: float | None
    notes: str = ""


def below_median(classes: Sequence[ClassResult], fraction: float) -> Decision:
    """Flag every class whose mask size is below `fraction` of the median; a class's score is log(median / size).

    A censored class enters the median with the size of its largest failed trigger, since a working trigger would most
    likely be larger. It is never flagged. Sizes below one pixel count as one pixel.
    """
    median = _median([c.mask_size for c in classes])
    reached = {c.target_class: math.log(median / max(c.mask_size, 1.0)) for c in classes if not c.censored}
    return _above(reached, ratio_score(fraction))


def _above(scores: Mapping[int, float], threshold: float) -> Decision:
    """Flag the classes whose score is above the threshold; the score is the largest, and without any at most 0."""
    return Decision(
        tuple(c for c, score in scores.items() if score > threshold),
        max(scores.values(), default=min(0.0, threshold)),
    )


def below_median_limit(sizes: Sequence[float], fraction: float) -> float:
    """The mask size below which `below_median` flags a class."""
    return fraction * _median(sizes)


def _median(sizes: Sequence[float]) -> float:
    return float(np.median(np.maximum(sizes, 1.0)))


def ratio_score(fraction: float) -> float:
    """The score of `below_median` for a size that is `fraction` of the median; infinite for a fraction of 0."""
    return -math.log(fraction) if fraction > 0.0 else math.inf


def lower_anomaly_index(classes: Sequence[ClassResult], threshold: float) -> Decision:
    """Flag sizes more than `threshold` deviations (1.4826 MAD) below the median; a class's score is its deviation.

    Only the lower side counts, since an unusually large mask does not indicate a backdoor. If almost all sizes agree
    (MAD 0), half a pixel is used as the deviation. Censored sizes enter the median unchanged and are never flagged.
    """
    sizes = np.array([c.mask_size for c in classes])
    index = deviations_below(sizes, _LEAST_DEVIATION)
    return _above({c.target_class: float(i) for c, i in zip(classes, index, strict=True) if not c.censored}, threshold)


def deviations_below(values: NDArray[np.float64], least: float) -> NDArray[np.float64]:
    """The anomaly index: how many deviations (1.4826 MAD, at least `least`) each value lies below the median.

    least: a lower bound above 0, for values that almost all agree. Negated values give the index of the upper side.
    """
    index: NDArray[np.float64] = (np.median(values) - values) / _deviation(values, least)
    return index


def anomaly_limit(sizes: Sequence[float], threshold: float) -> float:
    """The mask size below which `lower_anomaly_index` flags a class; if it is negative, no class is flagged."""
    return float(np.median(sizes)) - threshold * _deviation(np.asarray(sizes), _LEAST_DEVIATION)


_LEAST_DEVIATION = 0.5
"""Half a pixel."""

_MAD_OF_NORMAL = 0.6744897501960817
"""The median absolute deviation of a standard normal variable: its third quartile."""


def _deviation(values: NDArray[np.float64], least: float) -> float:
    spread = float(np.median(np.abs(values - np.median(values)))) / _MAD_OF_NORMAL
    return max(spread, least)


def small_patch_limit(_sizes: Sequence[float], largest: float) -> float:
    """The largest mask size that `small_patch` flags."""
    return largest


def small_patch(classes: Sequence[ClassResult], largest: float) -> Decision:
    """Flag every class with a working trigger of at most `largest` pixels; see `small_share` for the score."""
    return _working([c for c in classes if c.mask_size <= largest])


def small_share(classes: Sequence[ClassResult], largest: float) -> Decision:
    """Flag every class with a working trigger of at most the share `largest` of the image.

    The score of a class is the success rate of its trigger, (hits + 0.5) / (trials + 1), and 1 more if it works; a
    larger trigger has none. A single pixel is always small enough.
    """
    return _working([c for c in classes if c.mask_size <= max(largest * _pixels(c.trigger), 1.0)])


def _pixels(trigger: Transform) -> int:
    _, height, width = trigger.image_shape
    return height * width


def _working(small: Sequence[ClassResult]) -> Decision:
    scores = {c.target_class: _success(c) + (0.0 if c.censored else _WORKING) for c in small if _tried(c)}
    return _above(scores, working_score(0.0))


_WORKING = 1.0
"""The success rates below are between 0 and 1, so that any trigger that works has a higher score than all others."""


def working_score(_largest: float) -> float:
    """The score above which `small_patch` and `small_share` flag a class, whatever their limit."""
    return _WORKING


def _tried(result: ClassResult) -> bool:
    return result.success_rate is not None or not result.censored


def _success(result: ClassResult) -> float:
    """(hits + 0.5) / (trials + 1); a search does not say its trials, so that its rates count as those of one image."""
    trials = result.trials if result.success_rate is None else max(result.trials, 1)
    return ((result.success_rate or 0.0) * trials + 0.5) / (trials + 1)


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
            *(small_patch, working_score, small_patch_limit),
            working=_WORKING,
        ),
        "small_share": Rule(
            *("small_share", 1 / 64, "the default: 4x4 of 32x32 pixels, as the prototype race"),
            *(small_share, working_score),
            working=_WORKING,
        ),
    }
)
"""The rules by name; each threshold is a default with its source, not a fitted value."""


def stored_rule(name: str, limit: float | None) -> Rule | None:
    """The rule named in a ledger, with its stored limit; None for a rule that is not in RULES."""
    return None if limit is None or name not in RULES else replace(RULES[name], threshold=limit)


def on_one_scale(name: str, threshold: float | None, limit: float | None) -> tuple[float | None, float | None]:
    """The score's threshold and the rule's limit of a stored verdict.

    Verdicts from before schema 5 have the limit as their threshold, and the scores of `small_patch` and `small_share`
    had no threshold then: it is None.
    """
    if limit is not None or threshold is None:
        return threshold, limit
    rule = stored_rule(name, threshold)
    return (None if rule is None or rule.working else rule.score_threshold), threshold


@dataclass(frozen=True)
class SequentialTest:
    """Wald's sequential probability ratio test of a trigger's success rate: `works` against `fails`.

    The bounds are log((1 - beta) / alpha) and log(beta / (1 - alpha)). Raises ConfigError outside 0 < fails < works <
    1.
    """

    works: float = 0.85
    """Success rate of a trigger that works."""
    fails: float = 0.5
    """Success rate of a trigger that does not work."""
    alpha: float = 0.001
    """Probability of accepting a trigger with the rate `fails`."""
    beta: float = 0.001
    """Probability of rejecting a trigger with the rate `works`."""

    def __post_init__(self) -> None:
        if not 0 < self.fails < self.works < 1 or not 0 < self.alpha < 0.5 or not 0 < self.beta < 0.5:
            raise ConfigError(f"{self}; need 0 < fails < works < 1 and error rates in (0, 0.5)")

    def log_ratio(self, hits: int, trials: int) -> float:
        """The log-likelihood ratio of `works` over `fails` after `hits` in `trials`."""
        misses = trials - hits
        return hits * math.log(self.works / self.fails) + misses * math.log((1 - self.works) / (1 - self.fails))

    def decide(self, hits: int, trials: int) -> bool | None:
        """True if the trigger works, False if it does not, None if more images are needed."""
        ratio = self.log_ratio(hits, trials)
        if ratio >= math.log((1 - self.beta) / self.alpha):
            return True
        return False if ratio <= math.log(self.beta / (1 - self.alpha)) else None


def is_chance(correct: int, images: int, n_classes: int) -> bool:
    """Whether `correct` of `images` clean answers may be guesses (one-sided binomial test at level 0.01)."""
    rate = 1 / n_classes
    if images > 1000:  # the binomial coefficients would overflow a float
        from scipy import special  # slow to import

        return bool(special.bdtrc(correct - 1, images, rate) > 0.01)
    likely = (math.comb(images, k) * rate**k * (1 - rate) ** (images - k) for k in range(correct, images + 1))
    return math.fsum(likely) > 0.01
