"""The statistic of the noise test against known answers, and the test on planted victims."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from oracles.budget import Budget
from oracles.meter import MemoryRecorder, Metered, Recorded
from oracles.oracle import Oracle
from oracles.restrict import KeepTopK, LabelOnly
from simkit.detectors.access import QueryDataAccess
from simkit.detectors.blackbox.label_noise import LabelNoise, mean_shares, noisy
from simkit.errors import ConfigError
from simkit.seeding import stream
from studies.scan import detect
from tests.fakes import PlantedOracle, corner_plant, planted_images
from tests.studies.scans import IMAGES as SCANNED
from tests.studies.scans import TemplateNet

IMAGES = planted_images(64)
STRONG = LabelNoise(sigma=2.0, copies=300, threshold=0.45)


def victim(target: int | None) -> PlantedOracle:
    """A white pixel is the trigger: strong noise makes every second copy carry it."""
    return PlantedOracle(plant=None if target is None else corner_plant(target, side=1))


def test_shares_are_averaged_over_the_images() -> None:
    labels = np.array([[0, 0, 2, -1], [2, 2, 2, 2]], np.int32)
    assert mean_shares(labels, 3).tolist() == [0.25, 0.0, 0.625]


@given(st.lists(st.lists(st.integers(-1, 4), min_size=6, max_size=6), min_size=1, max_size=5))
def test_shares_are_shares(rows: list[list[int]]) -> None:
    shares = mean_shares(np.array(rows, np.int32), 5)
    assert shares.min() >= 0.0
    assert shares.sum() == pytest.approx(np.mean(np.array(rows) >= 0))


def test_noise_has_its_width_and_stays_in_range() -> None:
    noise = stream(0, "test").standard_normal((50, 1, 12, 12), np.float32)
    copies = noisy(torch.full((1, 12, 12), 0.5), np.float32(0.1) * noise)
    assert float(copies.std()) == pytest.approx(0.1, rel=0.05)
    wild = noisy(torch.full((1, 12, 12), 0.5), 9.0 * noise)
    assert (float(wild.min()), float(wild.max())) == (0.0, 1.0)


@pytest.mark.parametrize("target", [None, 2])
def test_a_class_that_noise_turns_into_is_flagged(target: int | None) -> None:
    verdict = STRONG.detect(QueryDataAccess(victim(target), IMAGES))
    observed = ("clean", "converged", ()) if target is None else ("backdoored", "decided", (target,))
    assert (verdict.verdict, verdict.stopped, verdict.flagged) == observed
    assert verdict.score is not None
    assert (verdict.score > STRONG.threshold) == (target is not None)
    assert verdict.clean_accuracy == 1.0


def test_labels_and_the_best_classes_tell_it_as_much_as_scores() -> None:
    oracles: tuple[Oracle, ...] = (victim(2), KeepTopK(victim(2), 2), LabelOnly(victim(2)))
    observed = [STRONG.detect(QueryDataAccess(oracle, IMAGES)) for oracle in oracles]
    assert {(v.flagged, v.score) for v in observed} == {((2,), observed[0].score)}


def test_its_cost_is_the_check_and_the_copies() -> None:
    recorder, budget = MemoryRecorder(), Budget(64 + 1200)
    oracle = Recorded(Metered(victim(2), budget), recorder)
    assert STRONG.detect(QueryDataAccess(oracle, IMAGES, 64 + 1200, recorder)).verdict == "backdoored"
    assert [purpose for _, purpose, _ in recorder.steps] == ["check", *["search"] * 8]
    assert (budget.spent, budget.remaining) == (1264, 0)
    rows = np.concatenate([call.rows for call in recorder.calls[1:]])
    assert len(np.unique(rows, axis=0)) == 1200


def test_half_a_test_is_not_paid_for_where_the_limit_is_known() -> None:
    oracle = victim(2)
    verdict = STRONG.detect(QueryDataAccess(oracle, IMAGES, limit=1000))
    assert (verdict.verdict, verdict.stopped, oracle.images_seen) == ("undecided", "budget", 64)
    assert "needs 1,200 more queries" in verdict.notes


def test_running_out_is_undecided() -> None:
    verdict = STRONG.detect(QueryDataAccess(Metered(victim(2), Budget(1000)), IMAGES))
    assert (verdict.verdict, verdict.stopped, verdict.flagged) == ("undecided", "budget", ())


def test_images_of_one_class_say_nothing_since_the_largest_share_is_their_own() -> None:
    oracle, alone = PlantedOracle(), IMAGES.take(np.flatnonzero(IMAGES.labels == 1))
    verdict = LabelNoise(sigma=0.01, copies=10).detect(QueryDataAccess(oracle, alone))
    assert (verdict.verdict, verdict.flagged, oracle.images_seen) == ("undecided", (), len(alone))
    assert "needs images of 2 classes or more" in verdict.notes


def test_in_a_ledger_it_names_the_class() -> None:
    settings: dict[str, Any] = {"search_images": 32, "verify_images": 32, "oracle": "label", "budget": 2000}
    result = detect(STRONG, TemplateNet(), images=SCANNED, **settings)
    assert (result.verdict, result.rule, result.spent) == ("clean", "LabelNoise", 1264)


@pytest.mark.parametrize(
    "settings", [{"sigma": 0.0}, {"sigma": float("nan")}, {"copies": 0}, {"images_per_class": 0}, {"threshold": 1.0}]
)
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        LabelNoise(**settings)  # type: ignore[arg-type]
