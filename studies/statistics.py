"""The statistics of comparing detectors, as pure functions of plain numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from simkit.seeding import stream
from simkit.verdict import Kind

RESAMPLES = 2000
"""Number of bootstrap resamples behind an interval."""

POSTERIOR = 20_000
"""Number of draws behind the interval of a likelihood ratio."""

_NORMAL_QUANTILE = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution."""

_SEED = 0
"""Seed of the resamples, fixed so that the same lines give the same table."""


PLACES: Mapping[Kind, int] = MappingProxyType({"backdoored": 1, "undecided": 0, "clean": -1, "invalid": -1})
"""The rank of each verdict by suspicion; `invalid` is no evidence of a backdoor."""


@dataclass(frozen=True)
class Ranking:
    """How well scores rank backdoored victims above clean ones.

    auroc: in [0, 1], None where one kind is missing. low, high: its 95 % interval, see `ranked`; None where all pairs
    are ties. unscored: number of victims without a score. victims: backdoored and clean ones behind it.
    """

    auroc: float | None
    low: float | None
    high: float | None
    unscored: int
    victims: tuple[int, int] | None = None


@dataclass(frozen=True)
class Spread:
    """Median, 90th percentile and sum of amounts such as queries; without amounts only the sum is defined.

    p90: the smallest amount that at least 90 % of the amounts do not exceed.
    """

    count: int
    median: float | None
    p90: float | None
    total: float


def spread(amounts: Sequence[float]) -> Spread:
    """Median, 90th percentile and sum of `amounts`."""
    if not amounts:
        return Spread(0, None, None, 0)
    p90 = float(np.percentile(amounts, 90, method="inverted_cdf"))
    return Spread(len(amounts), float(np.median(amounts)), p90, sum(amounts))


def mcnemar(only_first: int, only_second: int) -> float:
    """The exact two-sided p value of McNemar's test, in (0, 1].

    only_first, only_second: number of cases that only this method got right. The test is binomial with p = 1/2.
    """
    discordant, fewer = only_first + only_second, min(only_first, only_second)
    tail = sum(math.comb(discordant, hits) for hits in range(fewer + 1))  # of the binomial, in whole numbers
    return min(1.0, 2 * tail / (1 << discordant))


def holm(values: Sequence[float]) -> list[float]:
    """The p values of one family of tests, adjusted by Holm's step-down method; none decreases, and none exceeds 1."""
    adjusted, least = [0.0] * len(values), 0.0
    for rank, i in enumerate(sorted(range(len(values)), key=lambda i: values[i])):
        least = max(least, min(1.0, (len(values) - rank) * values[i]))
        adjusted[i] = least
    return adjusted


def verdicts_first(verdicts: Sequence[tuple[Kind, float | None]]) -> list[float | None]:
    """Scores that rank by verdict first and by the given score second; None stays None.

    For scans of several stages, where each stage scores by its own rule, so that scores are not on one scale.
    """
    keys = sorted({(PLACES[kind], score) for kind, score in verdicts if score is not None})
    ranks = {key: float(rank) for rank, key in enumerate(keys)}
    return [None if score is None else ranks[PLACES[kind], score] for kind, score in verdicts]


def ranking(backdoored: Sequence[float | None], clean: Sequence[float | None]) -> Ranking:
    """The area under the ROC curve. A tie counts one half, and a missing score (None) ranks below all scores.

    There is no area where one kind is missing, or no victim has a score.
    """
    unscored = sum(score is None for score in (*backdoored, *clean))
    if not backdoored or not clean or unscored == len(backdoored) + len(clean):
        return Ranking(None, None, None, unscored)
    return ranked(wins(backdoored, clean), unscored)


def ranked(won: NDArray[np.float64], unscored: int, *, interval: bool = True) -> Ranking:
    """The area under the ROC curve from `wins`. interval: whether to compute its interval.

    The interval is a bootstrap over victims. Where the kinds are perfectly separated all resamples would agree, and it
    is `separated`, which has a width there.
    """
    area, victims = float(won.mean()), (won.shape[0], won.shape[1])
    low, high = None, None
    if interval and area in (0.0, 1.0):
        limit = separated(*victims)
        low, high = (limit, 1.0) if area else (0.0, 1.0 - limit)
    elif interval and np.ptp(won) > 0:
        low, high = _interval(won)
    return Ranking(area, low, high, unscored, victims)


@lru_cache(maxsize=256)
def separated(backdoored: int, clean: int) -> float:
    """The lower end of the 95 % interval of an AUROC of 1, from these numbers of victims, each at least 1.

    Method 5 of Newcombe (2006), Statistics in Medicine 25:559-573: the smallest area from which 1 is 1.96 standard
    errors away, with the variance of Hanley and McNeil (1982), of two exponential distributions, at that area.
    """
    pairs, mean = backdoored * clean, (backdoored + clean) / 2 - 1

    def too_far(area: float) -> bool:
        shape = 1 + mean * (1 - area) / (2 - area) + mean * area / (1 + area)
        return (1 - area) ** 2 > _NORMAL_QUANTILE**2 * area * (1 - area) * shape / pairs

    low, high = 0.0, 1.0
    for _ in range(60):  # halvings, to the last bit
        middle = (low + high) / 2
        low, high = (middle, high) if too_far(middle) else (low, middle)
    return high


def wins(backdoored: Sequence[float | None], clean: Sequence[float | None]) -> NDArray[np.float64]:
    """(backdoored, clean): 1 where the backdoored victim has the higher score, 0.5 where both are equal, else 0."""
    above, below = (np.array([-np.inf if s is None else s for s in scores]) for scores in (backdoored, clean))
    return np.where(above[:, None] == below, 0.5, (above[:, None] > below).astype(np.float64))


def _interval(won: NDArray[np.float64]) -> tuple[float, float]:
    """The central 95 % of the area over resamples of the victims, drawn from each kind separately."""
    first, second = _draws(*won.shape)
    areas = ((first @ won) * second).sum(axis=1) / won.size
    low, high = np.percentile(areas, (2.5, 97.5))
    return float(low), float(high)


@lru_cache(maxsize=8)  # a pure function of two small numbers that takes longer than its use
def _draws(backdoored: int, clean: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How often each resample contains each victim, for both kinds."""
    draws = stream(_SEED, "table", "auroc")
    first, second = (draws.multinomial(n, np.full(n, 1 / n), RESAMPLES).astype(np.float64) for n in (backdoored, clean))
    return first, second


@dataclass(frozen=True)
class Share:
    """`hits` of `trials`, the rate, and its 95 % Wilson interval; these are None without trials."""

    hits: int
    trials: int
    rate: float | None
    low: float | None
    high: float | None


def share(hits: int, trials: int) -> Share:
    """`hits` of `trials` with the rate and its 95 % Wilson interval."""
    if not trials:
        return Share(hits, trials, None, None, None)
    return Share(hits, trials, hits / trials, *_wilson(hits, trials))


@lru_cache(maxsize=4096)  # a pure function of two small numbers that is called often
def _wilson(hits: int, trials: int) -> tuple[float, float]:
    # Newcombe (1998), method 3, in the order of operations of scipy.stats.binomtest, which is slow to import
    rate, square = hits / trials, _NORMAL_QUANTILE**2
    denominator = 2 * (trials + square)
    centre = (2 * trials * rate + square) / denominator
    delta = _NORMAL_QUANTILE / denominator * math.sqrt(4 * trials * rate * (1 - rate) + square)
    return 0.0 if hits == 0 else centre - delta, 1.0 if hits == trials else centre + delta


@dataclass(frozen=True)
class Ratio:
    """A ratio of two rates and its 95 % interval, all above 0."""

    value: float
    low: float
    high: float


@lru_cache(maxsize=256)  # a pure function of four small numbers that takes longer than its use
def likelihood_ratio(first: tuple[int, int], second: tuple[int, int]) -> Ratio:
    """How much more often something happens in the first group than in the second; each is (hits, trials).

    Both rates have Jeffreys' prior, so that few trials give no extreme ratio: their posterior means are
    (hits + 0.5) / (trials + 1), and the interval is of POSTERIOR draws of their ratio. A test counts how often it holds
    the true ratio of some tens of victims.
    """
    value = (first[0] + 0.5) / (first[1] + 1) * (second[1] + 1) / (second[0] + 0.5)
    draws = stream(_SEED, "table", "likelihood ratio")
    rates = (np.log(draws.beta(hits + 0.5, trials - hits + 0.5, POSTERIOR)) for hits, trials in (first, second))
    low, high = np.exp(np.percentile(next(rates) - next(rates), (2.5, 97.5)))
    return Ratio(value, min(float(low), value), max(float(high), value))


@dataclass(frozen=True)
class Average:
    """A mean of amounts and its 95 % interval by the normal approximation, which does not go below 0; None where all
    amounts are equal."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Bin:
    """The victims whose probability of a backdoor is in [low, high): the mean, and how many are backdoored."""

    low: float
    high: float
    mean: float
    backdoored: Share


@dataclass(frozen=True)
class Forecast:
    """How good stated probabilities are. victims: number of those that have one; without any there is no figure.

    cross_entropy: mean of -log of the probability given to the truth; log 2 = 0.693 without knowledge. brier: mean
    squared difference from the truth, 0 or 1; 0.25 without knowledge. reliability: the bins that hold a victim.
    """

    victims: int
    cross_entropy: Average | None
    brier: Average | None
    reliability: tuple[Bin, ...]


BINS = 10
"""Number of bins of equal width of a reliability view."""


def forecast(stated: Sequence[tuple[float, bool]]) -> Forecast:
    """The quality of probabilities of a backdoor, each in (0, 1) and with whether the victim is backdoored."""
    if not stated:
        return Forecast(0, None, None, ())
    losses = [-math.log(chance if truth else 1.0 - chance) for chance, truth in stated]
    squares = [(chance - truth) ** 2 for chance, truth in stated]
    return Forecast(len(stated), _average(losses), _average(squares), tuple(_bins(stated)))


def _average(values: Sequence[float]) -> Average:
    mean = math.fsum(values) / len(values)
    if min(values) == max(values):
        return Average(mean, None, None)
    margin = _NORMAL_QUANTILE * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return Average(mean, max(mean - margin, 0.0), mean + margin)


def _bins(stated: Sequence[tuple[float, bool]]) -> Iterator[Bin]:
    for number in range(BINS):
        held = [(chance, truth) for chance, truth in stated if min(int(chance * BINS), BINS - 1) == number]
        if held:
            mean = math.fsum(chance for chance, _ in held) / len(held)
            yield Bin(number / BINS, (number + 1) / BINS, mean, share(sum(truth for _, truth in held), len(held)))
