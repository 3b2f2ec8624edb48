"""What a comparison of detectors is made of, as pure functions of plain numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from simkit.seeding import stream

RESAMPLES = 2000
"""Bootstrap draws behind an interval."""

_SEED = 0
"""Of those draws: the same lines give the same table."""


@dataclass(frozen=True)
class Ranking:
    """How well scores order backdoored victims above clean ones.

    auroc: in [0, 1], None where one kind is missing. low, high: its bootstrap interval (95 %); None where the kinds are
    parted without a tie, one way or the other, since resampling never sees anything else then. unscored: victims of
    which the detector said nothing.
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
    discordant = only_first + only_second
    return float(stats.binomtest(only_first, discordant).pvalue) if discordant else 1.0


def ranking(backdoored: Sequence[float | None], clean: Sequence[float | None]) -> Ranking:
    """The area under the ROC curve; a tie counts half. None, no score, lies below every score: it accuses nobody.

    No area where one kind is missing, or nobody has a score.
    """
    unscored = sum(score is None for score in (*backdoored, *clean))
    if not backdoored or not clean or unscored == len(backdoored) + len(clean):
        return Ranking(None, None, None, unscored)
    wins = _wins(backdoored, clean)
    value = float(wins.mean())
    low, high = _interval(wins) if 0.0 < value < 1.0 else (None, None)
    return Ranking(value, low, high, unscored)


def _wins(backdoored: Sequence[float | None], clean: Sequence[float | None]) -> NDArray[np.float64]:
    """(B, C): 1 where the backdoored victim has the higher score, one half where both have the same."""
    above, below = (np.array([-np.inf if s is None else s for s in scores]) for scores in (backdoored, clean))
    return np.where(above[:, None] == below, 0.5, (above[:, None] > below).astype(np.float64))


def _interval(wins: NDArray[np.float64]) -> tuple[float, float]:
    """The middle 95 % of the area over resampled victims, each kind by itself, so that their numbers stay."""
    draws = stream(_SEED, "table", "auroc")
    first, second = (draws.multinomial(n, np.full(n, 1 / n), RESAMPLES) for n in wins.shape)
    areas = ((first @ wins) * second).sum(axis=1) / wins.size
    low, high = np.percentile(areas, (2.5, 97.5))
    return float(low), float(high)
