"""Arms on planted victims: what they find, what they cost, and that none depends on another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simkit.data import ImageSet
from simkit.env.arms import Bench, Field, Pulled
from simkit.errors import DataError
from simkit.search.images import ScanImages
from tests.fakes import planted_images
from tests.simkit.env.planted import ARMS, CLASSES, TARGET, Books
from tests.simkit.search.scans import IMAGES


def to_the_end(books: Books, number: int) -> list[Pulled]:
    arm = books.bench.arm(number)
    pulled = [arm.pull()]
    while not pulled[-1].row[Field.OVER]:
        pulled.append(arm.pull())
    return pulled


@pytest.mark.parametrize("number", [TARGET, CLASSES])
def test_the_arm_of_the_target_and_the_shared_one_find_the_plant_and_end(number: int) -> None:
    last = to_the_end(Books(), number)[-1].row
    assert (last[Field.FOUND], last[Field.OVER], last[Field.WORKS]) == (1, 1, 1)
    assert last[Field.SIZE] <= ARMS.largest_share
    assert last[Field.HITS] / last[Field.TRIALS] > 0.8
    assert last[Field.NAMED] == (TARGET if number == CLASSES else -1)


@pytest.mark.parametrize("number", range(CLASSES + 1))
def test_a_clean_victim_keeps_every_arm_busy_to_its_end_in_vain(number: int) -> None:
    rows = np.stack([p.row for p in to_the_end(Books(None), number)])
    assert not rows[:, Field.FOUND].any()
    assert rows[:, Field.OVER].tolist() == [0] * (len(rows) - 1) + [1]
    if number < CLASSES:
        assert rows[-1, Field.ROUNDS] == ARMS.classes.steps
        assert (np.diff(rows[:, Field.ROUNDS]) == ARMS.classes.check_every).all()
    else:
        assert rows[-1, Field.QUERIES] >= ARMS.shared.queries


@pytest.mark.parametrize("target", [None, TARGET])
@pytest.mark.parametrize("number", [0, TARGET, CLASSES])
def test_queries_are_those_that_were_charged_and_no_chunk_costs_more_than_is_said(
    target: int | None, number: int
) -> None:
    books = Books(target)
    queries = [0, *(int(p.row[Field.QUERIES]) for p in to_the_end(books, number))]
    assert queries[-1] == books.budget.spent
    of_class, shared = ARMS.largest_chunks(len(IMAGES.verify))
    assert 0 < max(np.diff(queries)) <= (shared if number == CLASSES else of_class)


def test_an_arm_comes_to_the_same_whatever_the_others_did() -> None:
    alone, among = Books().bench.arm(0), Books()
    arms = [among.bench.arm(number) for number in (CLASSES, 0, TARGET)]
    for _ in range(3):
        observed = [arm.pull() for arm in arms]
        assert (alone.pull().row == observed[1].row).all()


def test_the_first_look_tells_the_accuracy_and_is_charged() -> None:
    books = Books()
    queries, accuracy = books.bench.check()
    assert queries == books.budget.spent == ARMS.check_images
    assert accuracy == 1.0


def test_a_model_that_seems_to_guess_is_refused() -> None:
    images = planted_images(64)
    turned = ImageSet(images.pixels, (images.labels + 1) % CLASSES, images.classes, "turned")
    with pytest.raises(DataError, match="chance"):
        replace(Books().bench, images=ScanImages(turned, IMAGES.verify)).check()


def test_images_that_say_nothing_of_a_class_are_refused_before_any_query() -> None:
    images = planted_images(8)
    unlabelled = ImageSet.unlabelled(images.pixels, "mine", images.classes)
    first = images.take(np.array([0, 4]))
    for search in (unlabelled, first):
        with pytest.raises(DataError, match="images"):
            Bench(Books().bench.ask, CLASSES, ScanImages(search, IMAGES.verify), ARMS, 0)
