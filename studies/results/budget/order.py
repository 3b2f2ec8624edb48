"""The one definition of AUROC that tables and curves have: how verdicts rank their victims.

The AUROC is the share of pairs of a backdoored and a clean victim in which the backdoored one ranks higher, where a tie
counts one half. Of two victims with a verdict, `clean` or `backdoored`, the one with the higher score ranks higher; of
scans in several stages the verdict comes first, since the scores of different stages are on no common scale. A verdict
without a score ranks below all with one.

A scan without a verdict says nothing, whatever score its search had when the budget ended. It ranks below every verdict
`backdoored` and level with all other victims, so never above one that was found clean; were it below those, the AUROC
would fall as scans end that are right.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from studies.results.budget.verdict_at_budget import VerdictAt
from studies.statistics import Ranking, ranked, verdicts_first, wins

DEFINITION = (
    "AUROC is the share of pairs of a backdoored and a clean victim in which the backdoored one ranks higher; a tie"
    " counts one half. Victims with a verdict rank by their score (of scans in stages by the verdict first, since"
    " the scores of stages are not on one scale). A scan without a verdict has no score: it ranks below every verdict"
    " backdoored and level with all others, so never above a finished clean one."
)
"""The definition in words, which stand beside every AUROC."""


def order(backdoored: Sequence[VerdictAt], clean: Sequence[VerdictAt], *, interval: bool = True) -> Ranking:
    """The AUROC of these verdicts; None where one kind is missing, or where all scans ended and none has a score."""
    every = (*backdoored, *clean)
    unscored = sum(verdict.score is None for verdict in every)
    silent = all(verdict.ended and verdict.score is None for verdict in every)
    if not backdoored or not clean or silent:
        return Ranking(None, None, None, unscored)
    scores = [verdict.score for verdict in every]
    if any(verdict.staged for verdict in every):
        scores = verdicts_first([(verdict.kind, verdict.score) for verdict in every])
    won = wins(scores[: len(backdoored)], scores[len(backdoored) :])
    told = _decided(backdoored)[:, None] & _decided(clean)
    return ranked(np.where(told, won, _by_detection(backdoored, clean)), unscored, interval=interval)


def _decided(verdicts: Sequence[VerdictAt]) -> NDArray[np.bool_]:
    return np.array([verdict.kind in ("backdoored", "clean") for verdict in verdicts])


def _by_detection(backdoored: Sequence[VerdictAt], clean: Sequence[VerdictAt]) -> NDArray[np.float64]:
    """(backdoored, clean): wins by detections alone: who has no verdict is level with who was not detected."""
    detected = ([float(verdict.kind == "backdoored") for verdict in every] for every in (backdoored, clean))
    return wins(*detected)
