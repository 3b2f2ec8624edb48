"""Peaks, their sums and the pairs against known answers, and AEVA on planted victims."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracles.budget import Budget
from oracles.meter import MemoryRecorder, Metered, Recorded
from oracles.restrict import LabelOnly
from simkit.data import ImageSet
from simkit.detectors.access import QueryDataAccess
from simkit.detectors.blackbox.aeva import REFERENCE, Aeva, Pairs, pairs_of, peaks, summed
from simkit.detectors.blackbox.asking import Recognised
from simkit.detectors.blackbox.boundary import WalkConfig
from simkit.errors import ConfigError
from studies.scan import detect
from tests.fakes import PlantedOracle, corner_plant, planted_images
from tests.studies.scans import IMAGES as SCANNED
from tests.studies.scans import TemplateNet

IMAGES = planted_images(64, n_classes=6)
SHORT = Aeva(source_classes=2, walk=WalkConfig(rounds=8, samples=40, halvings=8))


def victim(target: int | None) -> PlantedOracle:
    """One white pixel is the trigger."""
    return PlantedOracle(6, plant=None if target is None else corner_plant(target, side=1))


def known(*classes: list[int]) -> Recognised:
    count = sum(map(len, classes))
    return Recognised(tuple(np.array(c, np.int32) for c in classes), count, count)


def test_a_peak_is_the_share_of_the_largest_pixels() -> None:
    change = np.zeros((2, 2, 2, 2), np.float32)
    change[0, :, 0, 0] = (3.0, -3.0)  # channels add up, signs do not matter
    change[0, 0, 0, 1], change[0, 1, 1, 0], change[0, 1, 1, 1] = -2.0, 1.0, 1.0
    assert peaks(change, 2).tolist() == pytest.approx([0.8, 0.0])
    assert peaks(change, 1).tolist() == pytest.approx([0.6, 0.0])
    assert peaks(change, 9).tolist() == pytest.approx([1.0, 0.0])


@given(st.integers(0, 1000), st.floats(1e-3, 10.0))
def test_a_peak_has_no_scale(seed: int, scale: float) -> None:
    change = np.random.default_rng(seed).normal(size=(1, 3, 4, 4)).astype(np.float32)
    (share,) = peaks(change, 2)
    assert 2 / 16 <= share <= 1.0
    assert peaks(np.float32(scale) * change, 2)[0] == pytest.approx(share, rel=1e-4)


def test_the_largest_peak_of_each_pair_of_classes_is_summed() -> None:
    targets, classes = np.array([0, 0, 0, 2], np.int32), np.array([1, 1, 2, 0], np.int32)
    pairs = Pairs(targets, targets, classes, targets)
    assert summed(pairs, np.array([0.1, 0.3, 0.2, 0.4]), 4).tolist() == pytest.approx([0.5, 0.0, 0.4, 0.0])


def test_every_class_is_a_target_for_every_other() -> None:
    pairs = pairs_of(known([5, 9], [6, 8], [], [7, 4]), 2, None)
    assert len(pairs) == 3 * 2 * 2
    observed = list(zip(pairs.sources, pairs.starts, pairs.source_classes, pairs.targets, strict=True))
    assert observed[:4] == [(6, 5, 1, 0), (8, 9, 1, 0), (7, 5, 3, 0), (4, 9, 3, 0)]
    assert {(int(s), int(t)) for s, t in zip(pairs.source_classes, pairs.targets, strict=True)} == {
        (s, t) for s in (0, 1, 3) for t in (0, 1, 3) if s != t
    }


def test_fewer_source_classes_are_the_next_in_turn_and_images_as_many_as_all_have() -> None:
    pairs = pairs_of(known([0, 3], [1, 4], [2]), 2, 1)
    assert list(zip(pairs.source_classes, pairs.targets, strict=True)) == [(1, 0), (2, 1), (0, 2)]
    assert list(pairs.sources) == [1, 2, 0]


@pytest.mark.parametrize("target", [None, 2])
def test_a_class_reached_by_a_peak_is_flagged(target: int | None) -> None:
    verdict = SHORT.detect(QueryDataAccess(LabelOnly(victim(target)), IMAGES))
    observed = ("clean", "converged", ()) if target is None else ("backdoored", "decided", (target,))
    assert (verdict.verdict, verdict.stopped, verdict.flagged) == observed
    assert verdict.score is not None
    assert (verdict.score > SHORT.threshold) == (target is not None)


def test_its_queries_say_image_and_target() -> None:
    recorder, budget = MemoryRecorder(), Budget(20_000)
    oracle = Recorded(Metered(victim(2), budget), recorder)
    SHORT.detect(QueryDataAccess(oracle, IMAGES, 20_000, recorder))
    assert {purpose for _, purpose, _ in recorder.steps} == {"check", "search"}
    rows = np.concatenate([call.rows for call in recorder.calls[1:]])
    assert set(np.unique(rows[:, 1])) == set(range(6))
    assert len(rows) + 64 == budget.spent
    assert (IMAGES.labels[rows[:, 0]] != rows[:, 1]).all()


def test_what_the_limit_cannot_pay_is_not_begun() -> None:
    oracle = victim(2)
    verdict = SHORT.detect(QueryDataAccess(oracle, IMAGES, limit=5000))
    assert (verdict.verdict, verdict.stopped, oracle.images_seen) == ("undecided", "budget", 64)
    assert f"needs {12 * SHORT.walk.least_queries:,} more queries" in verdict.notes


def test_running_out_is_undecided() -> None:
    verdict = SHORT.detect(QueryDataAccess(Metered(victim(2), Budget(3000)), IMAGES))
    assert (verdict.verdict, verdict.stopped, verdict.flagged) == ("undecided", "budget", ())


def test_a_class_without_an_image_is_no_target_and_leaves_it_open() -> None:
    images = IMAGES.take(np.flatnonzero(IMAGES.labels != 5))
    verdict = SHORT.detect(QueryDataAccess(victim(None), images))
    assert (verdict.verdict, verdict.stopped, verdict.notes) == (
        "undecided",
        "converged",
        "no image of class 5 is recognised",
    )
    assert SHORT.detect(QueryDataAccess(victim(2), images)).flagged == (2,)


def test_two_classes_have_no_outlier() -> None:
    verdict = SHORT.detect(QueryDataAccess(PlantedOracle(2), planted_images(64, n_classes=2)))
    assert (verdict.verdict, verdict.stopped) == ("undecided", "converged")
    assert "needs 3 or more" in verdict.notes


def test_peaks_of_all_pixels_tell_no_class_from_another() -> None:
    pixels = IMAGES.image_shape[1] * IMAGES.image_shape[2]
    verdict = replace(SHORT, peak_pixels=pixels).detect(QueryDataAccess(victim(2), IMAGES))
    assert (verdict.verdict, verdict.flagged) == ("undecided", ())
    assert "lower peak_pixels" in verdict.notes


def test_images_need_no_labels() -> None:
    unlabelled = ImageSet.unlabelled(IMAGES.pixels, "loose")
    verdict = SHORT.detect(QueryDataAccess(victim(2), unlabelled))
    assert (verdict.flagged, verdict.clean_accuracy) == ((2,), None)


def test_in_a_ledger_it_is_paid_and_known_by_its_settings() -> None:
    settings: dict[str, Any] = {"search_images": 32, "verify_images": 32, "oracle": "label", "budget": 20_000}
    result = detect(SHORT, TemplateNet(), images=SCANNED, **settings)
    assert (result.verdict, result.rule) == ("clean", "Aeva")
    assert result.spent >= 64 + 8 * SHORT.walk.least_queries


def test_the_reference_asks_what_the_released_code_does() -> None:
    assert REFERENCE.walk.least_queries == pytest.approx(24_900, rel=0.03)
    pairs = pairs_of(known(*[list(range(40))] * 10), REFERENCE.images, REFERENCE.source_classes)
    assert len(pairs) * REFERENCE.walk.least_queries == pytest.approx(9.0e7, rel=0.03)


def test_the_default_fits_a_budget_of_a_hundred_thousand() -> None:
    pairs = pairs_of(known(*[[0]] * 10), Aeva().images, Aeva().source_classes)
    assert 50_000 < len(pairs) * Aeva().walk.least_queries < 100_000


@pytest.mark.parametrize(
    "settings", [{"images": 0}, {"source_classes": 0}, {"peak_pixels": 0}, {"threshold": 0.0}, {"threshold": np.nan}]
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Aeva(**settings)
