"""The race: who is tried again, who is bred, what its own test says, and when it ends."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from simkit.errors import ConfigError
from simkit.search.contract import BoolArray, Evidence, Proposal, Task
from simkit.search.race import Race, RaceConfig
from simkit.seeding import stream
from simkit.triggers import Triggers
from simkit.verdict import SequentialTest
from tests.patches import patch, stack

TASK = Task((3, 16, 16), 3, (np.arange(40) % 3).astype(np.int32))
TESTED = range(30, 40)
"""A quarter of the images, which rank nothing."""

CONFIG = RaceConfig(first=40, queries=1200, restart=600, largest_share=1 / 16)
LARGEST = 16
"""Pixels, of 16x16: patches of up to 4x4."""


def reddish(triggers: Triggers) -> BoolArray:
    """Whether any pixel of the mask is rather red, bool (K,)."""
    red, green, blue = triggers.patterns.transpose(1, 0, 2, 3)
    actual: BoolArray = ((red > 0.6) & (green < 0.5) & (blue < 0.5) & (triggers.masks[:, 0] > 0)).any(axis=(1, 2))
    return actual


def answers(proposal: Proposal, target: int | None = 1) -> Evidence:
    """Red turns every image into the target; else an image is what it is."""
    own = TASK.image_classes[proposal.pairs[:, 1]]
    turned = reddish(stack(proposal.triggers))[proposal.pairs[:, 0]]
    named = own if target is None else np.where(turned, target, own)
    hit = named[:, None] == np.arange(3)
    return Evidence(np.where(hit, -0.1, -4.0).astype(np.float32), hit, own[:, None] != np.arange(3))


def raced(config: RaceConfig = CONFIG, target: int | None = 1, seed: int = 0) -> tuple[Race, list[Proposal]]:
    """A race to its end, and all that it asked."""
    search = Race(config, TASK, seed)
    asked: list[Proposal] = []
    while (proposal := search.ask()) is not None:
        asked.append(proposal)
        search.tell(answers(proposal, target))
    return search, asked


@pytest.mark.parametrize("seed", range(3))
def test_what_turns_every_image_is_found_small_and_for_its_class_alone(seed: int) -> None:
    first, target, last = raced(seed=seed)[0].results()
    assert (target.censored, target.success_rate) == (False, 1.0)
    assert 0 < target.mask_size <= LARGEST
    assert reddish(Triggers.of([patch(target.trigger)])).all()
    assert first.censored
    assert last.censored


def test_no_class_of_a_clean_victim_passes() -> None:
    assert all(result.censored for result in raced(target=None)[0].results())


def test_a_clean_victim_ends_it_early() -> None:
    search, asked = raced(replace(CONFIG, clean_from=200, clean_rounds=4), target=None)
    spent = sum(len(proposal.pairs) for proposal in asked)
    assert 200 <= spent < 300
    assert all(result.censored for result in search.results())


def test_more_classes_end_it_at_higher_peaks() -> None:
    """The same answers of no pair, once of three classes and once of many that are never named."""

    def spent(classes: int) -> int:
        task = Task(TASK.image_shape, classes, TASK.image_classes)
        search, asked = Race(replace(CONFIG, clean_from=200, clean_rounds=4, clean_value=1.2), task, 0), 0
        while (proposal := search.ask()) is not None:
            asked += len(proposal.pairs)
            score = stream(0, "noise", asked).uniform(-3.0, -0.1, (len(proposal.pairs), classes)).astype(np.float32)
            hit = score.argmax(axis=1)[:, None] == np.arange(classes)
            search.tell(Evidence(score, hit, np.ones_like(hit)))
        return asked

    assert spent(40) < spent(3)


def test_what_races_on_well_is_not_ended_early() -> None:
    """The patch is large enough to win the race, never small enough for the test."""
    config = replace(CONFIG, clean_from=200, clean_rounds=4, largest_share=1 / 256, patches=4)
    spent = sum(len(proposal.pairs) for proposal in raced(config)[1])
    assert spent >= CONFIG.queries


def test_areas_follow_the_image() -> None:
    config = RaceConfig(largest_share=1 / 64)
    shapes = [(3, 32, 32), (3, 96, 96), (1, 8, 8), (1, 2, 2)]
    assert [config.largest_area(shape) for shape in shapes] == [16, 144, 1, 1]
    assert [config.breeding(shape).largest_side for shape in shapes] == [4, 12, 1, 1]


def test_the_race_ends_after_its_queries() -> None:
    search, asked = raced(target=None)
    sizes = [len(proposal.pairs) for proposal in asked]
    assert sum(sizes[:-1]) < CONFIG.queries <= sum(sizes)
    assert search.rounds == len(asked)


def test_it_begins_with_collages_of_three_on_one_image_each() -> None:
    proposal = raced(target=None)[1][0]
    assert len(proposal.triggers) == len(proposal.pairs) == CONFIG.first
    sizes = stack(proposal.triggers).masks.sum(axis=(1, 2, 3))
    assert LARGEST < sizes.max() <= 3 * LARGEST


def test_images_that_test_rank_nothing_and_test_small_patches_alone() -> None:
    tests = 0
    for proposal in raced()[1]:
        tested = np.isin(proposal.pairs[:, 1], TESTED)
        assert tested.all() or not tested.any()
        if tested.any():
            tests += 1
            assert len(proposal.triggers) == 1
            assert len(proposal.pairs) <= CONFIG.test_batch
            assert stack(proposal.triggers).masks.sum() <= LARGEST
    assert tests


def test_a_pair_that_the_test_refuses_is_not_reported_and_not_tested_again() -> None:
    """Red works on the images that rank, and on none that test."""
    search = Race(CONFIG, TASK, 0)
    tested: list[bytes] = []
    while (proposal := search.ask()) is not None:
        on_test = bool(np.isin(proposal.pairs[:, 1], TESTED).all())
        if on_test:
            tested.append(stack(proposal.triggers).patterns.tobytes() + stack(proposal.triggers).masks.tobytes())
        search.tell(answers(proposal, None if on_test else 1))
    assert all(result.censored for result in search.results())
    assert len(set(tested)) > 0.5 * len(tested) > 5, "a child may be its parent's equal"


def test_a_test_goes_on_until_it_is_decided() -> None:
    """With batches of one the test of a pair that always hits takes as many images as the bounds say."""
    config = replace(CONFIG, test_batch=1, test=SequentialTest(works=0.8, fails=0.5, alpha=0.05, beta=0.05))
    needed = next(n for n in range(1, 50) if config.test.decide(n, n))
    lengths: list[int] = []
    length = 0
    for proposal in raced(config)[1]:
        if np.isin(proposal.pairs[:, 1], TESTED).all():
            length += 1
        elif length:
            lengths, length = [*lengths, length], 0
    assert lengths
    assert min(lengths) >= needed


def test_a_restart_forgets_the_collages() -> None:
    search = Race(CONFIG, TASK, 0)
    seen = []
    while (proposal := search.ask()) is not None:
        search.tell(answers(proposal, None))
        seen.append(json.loads(search.state())["patches"])
    assert 0 in seen[1:]


def test_memory_is_bounded() -> None:
    search = Race(replace(CONFIG, keep=7), TASK, 0)
    while (proposal := search.ask()) is not None:
        search.tell(answers(proposal))
        assert json.loads(search.state())["patches"] <= 7


def test_a_class_to_which_every_test_image_belongs_is_never_tested() -> None:
    task = Task(TASK.image_shape, 3, np.where(np.arange(40) < 30, np.arange(40) % 3, 1).astype(np.int32))
    search = Race(CONFIG, task, 0)
    while (proposal := search.ask()) is not None:
        search.tell(answers(proposal))
    assert all(result.censored for result in search.results())


def test_where_test_images_run_out_the_likelier_is_taken() -> None:
    """A pair that always hits needs nine images to be sure of; there are six or seven."""
    assert TASK.image_classes[list(TESTED)].tolist().count(1) + 9 > len(TESTED)
    assert not raced()[0].results()[1].censored


def test_few_images_are_enough_where_all_of_them_turn() -> None:
    """Four images rank and two test: no pair can have the five answers that are asked for elsewhere."""
    task = Task(TASK.image_shape, 3, np.array([0, 0, 2, 2, 0, 2], dtype=np.int32))
    search = Race(CONFIG, task, 0)
    while (proposal := search.ask()) is not None:
        own = task.image_classes[proposal.pairs[:, 1]]
        named = np.where(reddish(stack(proposal.triggers))[proposal.pairs[:, 0]], 1, own)
        hit = named[:, None] == np.arange(3)
        score = np.where(hit, -0.1, -4.0).astype(np.float32)
        search.tell(Evidence(score, hit, own[:, None] != np.arange(3)))
    assert [result.censored for result in search.results()] == [True, False, True]


def test_one_search_image_is_not_enough() -> None:
    with pytest.raises(ConfigError, match="two search images"):
        Race(CONFIG, Task((3, 8, 8), 2, np.zeros(1, dtype=np.int32)), 0)


@pytest.mark.parametrize(
    "change",
    [
        {"first": 0},
        {"fresh": -1},
        {"fresh": 0, "children": 0},
        {"most_trials": 4},
        {"required_success": 1.0},
        {"test_share": 0.0},
        {"part": 1.1},
        {"size_penalty": -0.1},
        {"largest_share": 0.0},
        {"clean_rounds": 0},
        {"shrinkage": 0.0},
    ],
)
def test_settings_out_of_range_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        RaceConfig(**change)  # type: ignore[arg-type]
