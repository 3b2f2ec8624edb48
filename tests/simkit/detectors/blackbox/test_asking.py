"""Images that a model recognises, and how a test of labels ends when it cannot go on."""

from __future__ import annotations

import json
import zlib

import numpy as np
import pytest
import torch

from oracles.answers import Answer, Labels
from oracles.budget import Budget
from oracles.errors import Refused
from oracles.meter import MemoryRecorder, Metered, Recorded
from oracles.oracle import Oracle, Tag
from simkit.data import ImageSet
from simkit.detectors.access import QueryDataAccess
from simkit.detectors.blackbox.asking import Asker, Recognised, concluded, recognised, sorted_by_class
from simkit.errors import DataError
from simkit.verdict import Verdict
from tests.fakes import NotANumberOracle, PlantedOracle, planted_images

IMAGES = planted_images(100)


class Mute(PlantedOracle):
    """Names no class for any image."""

    def query(self, images: torch.Tensor, tag: Tag | None = None) -> Answer:
        return Labels(np.full(len(images), -1, np.int32), self.n_classes)


def says_clean(asker: Asker, actual: Recognised) -> Verdict:
    return Verdict("clean", "converged", (), 0.5, (), None)


def verdict_on(oracle: Oracle, images: ImageSet = IMAGES) -> Verdict:
    return concluded(QueryDataAccess(oracle, images), 1, says_clean)


def test_images_are_asked_about_until_every_class_has_enough() -> None:
    oracle = PlantedOracle()
    actual = recognised(Asker(QueryDataAccess(oracle, IMAGES)), 3)
    assert (actual.asked, actual.correct, oracle.images_seen) == (64, 64, 64)
    assert actual.classes == (0, 1, 2, 3)
    assert [list(reference[:3]) for reference in actual.indices] == [[0, 4, 8], [1, 5, 9], [2, 6, 10], [3, 7, 11]]
    assert recognised(Asker(QueryDataAccess(oracle, IMAGES)), 26).asked == 100


def test_only_right_answers_count_and_without_labels_every_answer() -> None:
    observed = np.array([0, 1, -1, 3], np.int32)
    actual = sorted_by_class(observed, IMAGES.with_labels(np.roll(IMAGES.labels, 2) * 0, 4), 4)
    assert ([list(reference) for reference in actual.indices], actual.correct) == ([[0], [], [], []], 1)
    unlabelled = ImageSet.unlabelled(IMAGES.pixels, "loose")
    actual = sorted_by_class(observed, unlabelled, 4)
    assert ([list(reference) for reference in actual.indices], actual.asked, actual.correct) == (
        [[0], [1], [], [3]],
        4,
        3,
    )
    assert actual.classes == (0, 1, 3)


def test_the_accuracy_is_told() -> None:
    assert verdict_on(PlantedOracle()).clean_accuracy == 1.0
    assert verdict_on(PlantedOracle(), ImageSet.unlabelled(IMAGES.pixels, "loose")).clean_accuracy is None


@pytest.mark.parametrize(
    ("oracle", "images", "notes"),
    [
        (PlantedOracle(), IMAGES.with_labels(np.roll(IMAGES.labels, 1), 4), "chance"),
        (Mute(), ImageSet.unlabelled(IMAGES.pixels, "loose"), "chance"),
        (NotANumberOracle(), IMAGES, "NaN"),
    ],
)
def test_a_model_that_does_not_see_its_images_is_invalid(oracle: Oracle, images: ImageSet, notes: str) -> None:
    verdict = verdict_on(oracle, images)
    assert (verdict.verdict, verdict.score) == ("invalid", None)
    assert notes in verdict.notes


def test_another_order_of_classes_is_named() -> None:
    reversed_ = IMAGES.with_labels(3 - IMAGES.labels, 4)
    assert (
        "images of 4 classes are taken for another class (0 for 3, 1 for 2"
        in verdict_on(PlantedOracle(), reversed_).notes
    )
    swapped = IMAGES.with_labels(np.array([1, 0, 2, 3], np.int32)[IMAGES.labels], 4)
    verdict = verdict_on(PlantedOracle(), swapped)
    assert verdict.verdict != "invalid"
    assert "images of 2 classes are taken for another class (0 for 1, 1 for 0)" in verdict.notes


def test_a_label_that_is_no_class_costs_nothing() -> None:
    oracle = PlantedOracle(n_classes=3)
    with pytest.raises(DataError, match="label 3, but the model has 3 classes"):
        verdict_on(oracle)
    assert oracle.images_seen == 0


def test_running_out_is_undecided() -> None:
    verdict = verdict_on(Metered(PlantedOracle(), Budget(10)))
    assert (verdict.verdict, verdict.stopped) == ("undecided", "budget")


def test_a_service_that_refuses_leaves_it_undecided_with_the_accuracy() -> None:
    def refuses(asker: Asker, actual: Recognised) -> Verdict:
        raise Refused(8, "rate")

    verdict = concluded(QueryDataAccess(PlantedOracle(), IMAGES), 1, refuses)
    assert (verdict.verdict, verdict.stopped, verdict.clean_accuracy) == ("undecided", "refused", 1.0)


def test_every_call_is_a_step_where_steps_are_kept() -> None:
    recorder = MemoryRecorder()
    access = QueryDataAccess(Recorded(PlantedOracle(), recorder), IMAGES, limit=101, steps=recorder)
    asker = Asker(access)
    recognised(asker, 26)
    assert [(number, purpose) for number, purpose, _ in recorder.steps] == [(0, "check"), (1, "check")]
    digests = [zlib.crc32(part.numpy().tobytes()) for part in (IMAGES.pixels[:64], IMAGES.pixels[64:])]
    assert [json.loads(state) for _, _, state in recorder.steps] == [{"digest": digest} for digest in digests]
    assert [list(call.rows[0]) for call in recorder.calls] == [[0, -1], [64, -1]]
    assert (asker.affords(1), asker.affords(2)) == (True, False)
