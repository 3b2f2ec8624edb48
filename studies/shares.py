"""Shares of something counted, with the interval that so few cases leave open."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from scipy import stats


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
    interval = stats.binomtest(hits, trials).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)
