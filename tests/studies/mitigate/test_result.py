"""What rejecting does, counted by hand on six images."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from simkit.errors import ConfigError
from studies.mitigate.result import THRESHOLDS, Judged, MitigationResult, ScreenConfig, Where, point, result_of


def judged(scores: list[float], hits: list[bool], labels: list[int] | None = None) -> Judged:
    return Judged(np.array(scores), np.array(hits), np.array(labels or [0] * len(hits), np.int32))


CLEAN = judged([0.1, 0.3, 2.0, 3.0, 4.0, 6.0], [True, True, True, True, False, True], [1, 1, 1, 0, 2, 3])
TRIGGERED = judged([0.0, 0.1, 0.2, 2.5], [True, True, False, True], [1, 1, 1, 1])


def result(threshold: float = 0.5, triggered: Judged | None = TRIGGERED) -> MitigationResult:
    return result_of((1,), CLEAN, triggered, threshold, Where(20, Path("a.db"), 1))


def test_shares_at_a_threshold() -> None:
    at = point(0.5, CLEAN, TRIGGERED)
    assert (at.accuracy.hits, at.accuracy.trials) == (3, 6)  # two of the five right ones are rejected
    assert at.clean_rejected.hits == 2
    assert at.triggered_rejected is not None
    assert at.success is not None
    assert (at.triggered_rejected.hits, at.success.hits, at.success.trials) == (3, 1, 4)


def test_a_score_at_the_threshold_is_kept_and_at_0_nothing_is_rejected() -> None:
    assert point(0.3, CLEAN, None).clean_rejected.hits == 1
    nothing = point(0.0, CLEAN, TRIGGERED)
    assert nothing.accuracy.hits == 5
    assert nothing.success is not None
    assert (nothing.clean_rejected.hits, nothing.success.hits) == (0, 3)


def test_the_flagged_classes_own_images_are_told_apart() -> None:
    found = result()
    assert (found.own_rejected.hits, found.own_rejected.trials) == (2, 3)
    assert (found.others_rejected.hits, found.others_rejected.trials) == (0, 3)
    assert found.without == point(0.0, CLEAN, TRIGGERED)


def test_the_ranking_counts_pairs_and_half_of_ties() -> None:
    found = result().ranking
    assert found is not None
    # of 24 pairs: 0.0 lies below all six, 0.1 below five and level with one, 0.2 below five, 2.5 below three
    assert found.auroc == pytest.approx((6 + 5.5 + 5 + 3) / 24)


def test_without_triggered_images_nothing_is_said_of_them() -> None:
    found = result(triggered=None)
    assert (found.triggered, found.ranking, found.at.success, found.at.triggered_rejected) == (0, None, None, None)


def test_the_points_go_up_and_hold_the_threshold_in_use() -> None:
    found = [p.threshold for p in result(0.7).points]
    assert found == sorted({*THRESHOLDS, 0.7})
    told = json.loads(json.dumps(result(0.7).to_json(), allow_nan=False))
    assert told["at"] in told["points"]
    assert (told["flagged"], told["queries"], told["db"], told["at"]["accuracy"]["hits"]) == ([1], 20, "a.db", 3)


@pytest.mark.parametrize("threshold", [-0.1, math.nan, math.inf])
def test_a_threshold_out_of_range(threshold: float) -> None:
    with pytest.raises(ConfigError, match="0 or more"):
        ScreenConfig(threshold)


def test_no_images() -> None:
    with pytest.raises(ConfigError, match="give 1 or more"):
        ScreenConfig(images=0)
