"""What the check of clean images says where a model sees them otherwise than they are labelled."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simkit.search.recognition import at_chance, doubts, low_accuracy, plainly_seen
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
    assert f"most images of 2 classes are taken for another class ({first} for {second}, {second} for {first})" in said
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
    assert "images of" not in doubts(LABELS, np.full(30, -1, np.int32))


def test_one_wrong_answer_hides_no_exchanged_class() -> None:
    answers = LABELS.copy()
    answers[LABELS == 0], answers[LABELS == 1] = 1, 0
    answers[[0, 6]] = 4  # the first image of either class
    assert "most images of 2 classes are taken for another class (0 for 1, 1 for 0)" in doubts(LABELS, answers)
    answers[[1, 7]] = 4  # four of six are too few
    assert "images of" not in doubts(LABELS, answers)


def test_two_classes_that_are_taken_for_each_other_count_together() -> None:
    labels = np.concatenate([LABELS, LABELS])
    answers = labels.copy()
    answers[labels == 0], answers[labels == 1] = 1, 0
    answers[np.flatnonzero(labels == 1)[:4]] = 4  # 8 of 12, but 20 of 24 of the two
    assert "most images of 2 classes are taken for another class (0 for 1, 1 for 0)" in doubts(labels, answers)
    answers[np.flatnonzero(labels == 1)[:6]] = [1, 4, 1, 4, 1, 4]  # no longer most of either
    assert "images of" not in doubts(labels, answers)
    answers[labels == 1] = 1  # one way alone
    assert "images of" not in doubts(labels, answers)


ORDERS = {
    "one more": (np.roll(np.arange(10), -1), "the answers are the label plus 1:"),
    "one less": (np.roll(np.arange(10), 1), "the answers are the label minus 1:"),
    "reversed": (
        np.arange(9, -1, -1),
        "most images of 10 classes are taken for another class (0 for 9, 1 for 8, 2 for 7",
    ),
    "rotated by half": (np.roll(np.arange(10), 5), "most images of 10 classes are taken for another class (0 for 5"),
    "even before odd": (
        np.array([0, 5, 1, 6, 2, 7, 3, 8, 4, 9]),
        "most images of 8 classes are taken for another class",
    ),
    "names in the order of text": (np.array([0, 2, 3, 4, 5, 6, 7, 8, 9, 1]), "the answers are the label plus 1:"),
}


@pytest.mark.parametrize("order", ORDERS)
def test_an_order_of_classes_is_named_whatever_the_accuracy(order: str) -> None:
    labels = np.repeat(np.arange(10), 6).astype(np.int32)
    classes, said = ORDERS[order]
    answers = classes.astype(np.int32)[labels]
    answers[::8] = 3  # a model that is not perfect
    for note in (at_chance(labels, answers), doubts(labels, answers)):
        assert said in note
        assert "check the order of the classes (simkit data show)" in note


def test_an_accuracy_of_nothing_suggests_reversed_scores_and_pixels_of_bytes_their_scale() -> None:
    labels = np.arange(32, dtype=np.int32) % 10
    reversed_scores = (labels + 1 + np.arange(32, dtype=np.int32) % 9) % 10
    said = at_chance(labels, reversed_scores.astype(np.int32))
    assert said.startswith("clean accuracy is 0%: the scores may be reversed, such as a loss in place of a score; ")
    assert "--mean 0 --std 0.00392156863" in said
    assert "reversed" not in at_chance(labels, np.zeros(32, np.int32))


def test_a_shift_shows_where_each_class_has_one_image() -> None:
    labels = np.arange(64, dtype=np.int32) * 15
    assert "100% of the answers are the label plus 1" in at_chance(labels, labels + 1)
    half = np.where(np.arange(64) % 8 < 5, labels + 1, 7).astype(np.int32)
    assert "62% of the answers are the label plus 1" in at_chance(labels, half)


@pytest.mark.parametrize("seed", range(20))
def test_guesses_are_no_order(seed: int) -> None:
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(10), 6).astype(np.int32)
    for answers in (generator.integers(0, 10, 60), np.full(60, seed % 10), np.where(labels < seed % 10, 3, 7)):
        said, most = at_chance(labels, answers.astype(np.int32)), int(np.bincount(answers).max())
        told = f", and {most} of 60 clean images are answered as class {np.bincount(answers).argmax()}: "
        assert said.startswith(
            f"clean accuracy is at chance{told if most >= 48 else '; check the order of the classes'}"
        )
        assert not any(words in said for words in ("taken for another", "of the answers are the label"))


def test_answers_of_one_class_are_told_with_what_may_have_done_it() -> None:
    """Noise of 0.03 on pixels made three of four victims with blended noise answer their target class."""
    labels = np.arange(32, dtype=np.int32) % 10
    said = at_chance(labels, np.where(np.arange(32) < 27, 9, labels).astype(np.int32))
    assert said.startswith("clean accuracy is at chance, and 28 of 32 clean images are answered as class 9: ")
    assert "noise that the service adds may work as the trigger" in said
    absent = at_chance(np.arange(32, dtype=np.int32), np.full(32, 40, np.int32))
    assert "32 of 32 clean images are answered as class 40" in absent, "also where no image is of that class"
    assert "answered as class" not in at_chance(labels, np.where(np.arange(32) < 20, 9, 8).astype(np.int32))
    few = np.repeat(np.array([9, 1, 2], np.int32), 10)
    assert "answered as class" not in at_chance(few, np.full(30, 9, np.int32)), "three classes say little"
    assert "answered as class" not in at_chance(np.arange(4, dtype=np.int32), np.zeros(4, np.int32)), "nor four images"


def test_a_scan_notes_it_and_goes_on() -> None:
    labels = IMAGES.search.labels.copy()
    labels[IMAGES.search.labels == 0], labels[IMAGES.search.labels == 1] = 1, 0
    moved = replace(IMAGES, search=IMAGES.search.with_labels(labels, 4))
    verdict = verdict_of(Scan(PlantedOracle()).run(patches(), moved, replace(DRIVER, check_images=64)))
    assert verdict.verdict == "clean"
    assert "most images of 2 classes are taken for another class" in verdict.notes


def test_a_scan_whose_accuracy_is_at_chance_names_the_order() -> None:
    moved = replace(IMAGES, search=IMAGES.search.with_labels((IMAGES.search.labels + 1) % 4, 4))
    verdict = verdict_of(Scan(PlantedOracle()).run(patches(), moved, replace(DRIVER, check_images=64)))
    assert verdict.verdict == "invalid"
    assert "the answers are the label minus 1" in verdict.notes or "images of 4 classes are taken" in verdict.notes


def test_images_without_labels_have_no_order() -> None:
    labels = np.full(30, -1, np.int32)
    assert doubts(labels, LABELS) == ""
    assert doubts(np.empty(0, np.int32), np.empty(0, np.int32)) == ""


@pytest.mark.parametrize(
    ("images", "right", "n_classes", "plain"),
    [
        (8, 6, 10, True),
        (8, 5, 10, False),  # not chance, and few
        (16, 12, 10, True),
        (4, 3, 2, False),  # three of four may be guesses
        (8, 7, 2, False),
        (8, 8, 2, True),
        (16, 14, 2, True),
    ],
)
def test_three_of_four_images_named_rightly_are_enough_unless_they_may_be_guesses(
    images: int, right: int, n_classes: int, plain: bool
) -> None:
    labels = np.zeros(images, np.int32)
    answered = np.where(np.arange(images) < right, 0, 1).astype(np.int32)
    assert plainly_seen(labels, answered, n_classes) is plain


def test_an_order_of_classes_that_shows_keeps_the_check_going() -> None:
    labels = np.repeat(np.arange(8), 4).astype(np.int32)
    answers = labels.copy()
    answers[labels == 0], answers[labels == 1] = 1, 0
    assert (answers == labels).mean() == 0.75
    assert plainly_seen(labels, answers, 8) is False


def test_a_check_in_batches_ends_with_the_first_that_is_plain_and_a_strange_order_takes_all() -> None:
    config = replace(DRIVER, check_images=32, check_batch=8)
    scan = Scan(PlantedOracle())
    verdict = verdict_of(scan.run(patches(), config=config))
    assert (len(scan.recorder.calls[0].rows), scan.purposes.count("check")) == (8, 1)
    assert verdict.clean_accuracy == 1.0
    shifted = replace(IMAGES, search=IMAGES.search.with_labels((IMAGES.search.labels + 1) % 4, 4))
    scan = Scan(PlantedOracle())
    assert verdict_of(scan.run(patches(), shifted, config)).verdict == "invalid"
    assert (scan.recorded, scan.purposes.count("check")) == (32, 4)
