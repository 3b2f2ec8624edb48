"""What a comparison of detectors is made of, as pure functions of plain numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from simkit.seeding import stream
from simkit.verdict import Kind

RESAMPLES = 2000
"""Bootstrap draws behind an interval."""

_NORMAL_QUANTILE = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution."""

_SEED = 0
"""Of those draws: the same lines give the same table."""


PLACES: Mapping[Kind, int] = MappingProxyType({"backdoored": 1, "undecided": 0, "clean": -1, "invalid": -1})
"""Verdicts by suspicion; a detector has nothing against a model that it calls invalid."""


@dataclass(frozen=True)
class Ranking:
    """How well scores order backdoored victims above clean ones.

    auroc: in [0, 1], None where one kind is missing. low, high: its bootstrap interval (95 %); None where every pair of
    victims says the same, as when the kinds are parted without a tie, since resampling never sees anything else.
    unscored: victims of which the detector said nothing.
    """

    auroc: float | None
    low: float | None
    high: float | None
    unscored: int


@dataclass(frozen=True)
class Spread:
    """Of some amounts, such as queries: median, 90th percentile, and their sum; count 0 has no median.

    p90: the smallest amount among them that at least 90 % of them do not exceed.
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

    only_first, only_second: cases that one was right about and the other was not. That is a binomial test of one half.
    """
    from scipy import stats  # slow to import, and a report compares no detectors

    discordant = only_first + only_second
    return float(stats.binomtest(only_first, discordant).pvalue) if discordant else 1.0


def holm(values: Sequence[float]) -> list[float]:
    """The p values of one family of tests, adjusted by Holm's step-down method: each in [its own, 1]."""
    adjusted, least = [0.0] * len(values), 0.0
    for rank, i in enumerate(sorted(range(len(values)), key=lambda i: values[i])):
        least = max(least, min(1.0, (len(values) - rank) * values[i]))
        adjusted[i] = least
    return adjusted


def verdicts_first(words: Sequence[tuple[Kind, float | None]]) -> list[float | None]:
    """Scores in the order of the verdicts, and among equal verdicts of the scores that were given; None stays None.

    For scans in stages: each stage scores by a rule of its own, so that their scores are on no one scale.
    """
    keys = sorted({(PLACES[kind], score) for kind, score in words if score is not None})
    ranks = {key: float(rank) for rank, key in enumerate(keys)}
    return [None if score is None else ranks[PLACES[kind], score] for kind, score in words]


def ranking(backdoored: Sequence[float | None], clean: Sequence[float | None]) -> Ranking:
    """The area under the ROC curve; a tie counts half. None, no score, lies below every score: it accuses nobody.

    No area where one kind is missing, or nobody has a score.
    """
    unscored = sum(score is None for score in (*backdoored, *clean))
    if not backdoored or not clean or unscored == len(backdoored) + len(clean):
        return Ranking(None, None, None, unscored)
    return ranked(wins(backdoored, clean), unscored)


def ranked(won: NDArray[np.float64], unscored: int, *, interval: bool = True) -> Ranking:
    """The area that these wins are, see `wins`; B and C 1 or more. interval: whether to draw one."""
    low, high = _interval(won) if interval and np.ptp(won) > 0 else (None, None)
    return Ranking(float(won.mean()), low, high, unscored)


def wins(backdoored: Sequence[float | None], clean: Sequence[float | None]) -> NDArray[np.float64]:
    """(B, C): 1 where the backdoored victim has the higher score, one half where both have the same."""
    above, below = (np.array([-np.inf if s is None else s for s in scores]) for scores in (backdoored, clean))
    return np.where(above[:, None] == below, 0.5, (above[:, None] > below).astype(np.float64))


def _interval(won: NDArray[np.float64]) -> tuple[float, float]:
    """The middle 95 % of the area over resampled victims, each kind by itself, so that their numbers stay."""
    first, second = _draws(*won.shape)
    areas = ((first @ won) * second).sum(axis=1) / won.size
    low, high = np.percentile(areas, (2.5, 97.5))
    return float(low), float(high)


@lru_cache(maxsize=8)  # a pure function of two small numbers, and dearer than what is done with it
def _draws(backdoored: int, clean: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How often each victim of either kind is in each resample."""
    draws = stream(_SEED, "table", "auroc")
    first, second = (draws.multinomial(n, np.full(n, 1 / n), RESAMPLES).astype(np.float64) for n in (backdoored, clean))
    return first, second


@dataclass(frozen=True)
class Share:
    """hits of trials, and the Wilson interval (95 %) of the rate behind it; all None where nothing was tried."""

    hits: int
    trials: int
    rate: float | None
    low: float | None
    high: float | None


def share(hits: int, trials: int) -> Share:
    """`hits` of `trials` with the Wilson interval (95 %) of the rate."""
    if not trials:
        return Share(hits, trials, None, None, None)
    return Share(hits, trials, hits / trials, *_wilson(hits, trials))


@lru_cache(maxsize=4096)  # a pure function of two small numbers, asked for again and again
def _wilson(hits: int, trials: int) -> tuple[float, float]:
    # Newcombe (1998), method 3, in the order of operations of scipy.stats.binomtest, which is slow to import
    rate, square = hits / trials, _NORMAL_QUANTILE**2
    denominator = 2 * (trials + square)
    centre = (2 * trials * rate + square) / denominator
    delta = _NORMAL_QUANTILE / denominator * math.sqrt(4 * trials * rate * (1 - rate) + square)
    return 0.0 if hits == 0 else centre - delta, 1.0 if hits == trials else centre + delta
