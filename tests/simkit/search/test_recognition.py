"""What the check of clean images says where a model sees them otherwise than they are labelled."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simkit.search.recognition import doubts, low_accuracy
from tests.fakes import PlantedOracle
from tests.simkit.search.scans import DRIVER, IMAGES, Scan, patches, verdict_of

LABELS = np.repeat(np.arange(5), 6).astype(np.int32)


def test_a_sound_model_raises_no_doubt() -> None:
    answers = LABELS.copy()
    answers[::7] = 0
    assert doubts(LABELS, LABELS) == ""
    assert doubts(LABELS, answers) == ""


@pytest.mark.parametrize("swapped", [(0, 1), (2, 4)])
def test_two_classes_that_are_exchanged_are_named(swapped: tuple[int, int]) -> None:
    first, second = swapped
    answers = LABELS.copy()
    answers[first == LABELS], answers[second == LABELS] = second, first
    said = doubts(LABELS, answers)
    assert f"every image of 2 classes is taken for another class ({first} for {second}, {second} for {first})" in said
    for word in ("order of the classes", "--mean", "--std", "layout"):
        assert word in said


def test_one_class_that_is_taken_for_another_is_no_order() -> None:
    assert doubts(LABELS, np.where(LABELS == 3, 1, LABELS)) == ""


def test_few_images_of_a_class_say_nothing() -> None:
    labels = np.arange(20, dtype=np.int32)
    answers = labels.copy()
    answers[:4] = [1, 0, 3, 2]
    assert doubts(labels, answers) == ""


def test_a_low_accuracy_is_said() -> None:
    answers = np.where(np.arange(30) % 3 == 0, LABELS, (LABELS + np.arange(30)) % 5).astype(np.int32)
    assert "far below what a trained model reaches" in doubts(LABELS, answers)
    assert low_accuracy(0.5) == ""
    assert low_accuracy(0.22).startswith("clean accuracy is 22%")


def test_answers_that_name_no_class_are_not_another_class() -> None:
    assert "every image" not in doubts(LABELS, np.full(30, -1, np.int32))


def test_a_scan_notes_it_and_goes_on() -> None:
    labels = IMAGES.search.labels.copy()
    labels[IMAGES.search.labels == 0], labels[IMAGES.search.labels == 1] = 1, 0
    moved = replace(IMAGES, search=IMAGES.search.with_labels(labels, 4))
    verdict = verdict_of(Scan(PlantedOracle()).run(patches(), moved, replace(DRIVER, check_images=64)))
    assert verdict.verdict == "clean"
    assert "every image of 2 classes is taken for another class" in verdict.notes
