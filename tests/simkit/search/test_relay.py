"""Stages: which begins when, what they share, and whose word counts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from torch import Tensor

from oracles.answers import Answer
from oracles.errors import Refused
from oracles.oracle import Tag
from simkit.search.driver import Checkpoint, DriverConfig
from simkit.search.presets import Preset
from simkit.search.random_patch import RandomPatch, RandomPatchConfig
from simkit.search.refine import RefineConfig
from simkit.search.relay import Course, Relay
from simkit.verdict import RULES, Verdict
from tests.fakes import NotANumberOracle, PlantedOracle, corner_plant
from tests.simkit.search.scans import IMAGES, TASK, Scan

QUICK = DriverConfig(check_images=16, verify_images=0, first_look=1, look_every=1)
SECOND = Preset(RandomPatchConfig(rounds=60), "small_patch", QUICK, least_queries=100)
FIRST = Preset(
    RandomPatchConfig(largest_side=1, fresh=70, retests=2, rounds=3, required_trials=5),
    "small_patch",
    QUICK,
    then=SECOND,
)
"""Three rounds of single pixels find nothing; the second stage finds the corner."""


def relayed(scan: Scan, preset: Preset = FIRST) -> tuple[Relay, list[Checkpoint]]:
    relay = Relay(Course(preset, 0, scan.cap), IMAGES, lambda: 4)
    return relay, list(relay.run(scan.evaluator))


def verdict_of(checkpoints: list[Checkpoint]) -> Verdict:
    assert [c.verdict is None for c in checkpoints] == [True] * (len(checkpoints) - 1) + [False]
    verdict = checkpoints[-1].verdict
    assert verdict is not None
    return verdict


def test_the_next_stage_begins_where_the_first_finds_nothing() -> None:
    scan = Scan(PlantedOracle(plant=corner_plant(2)))
    relay, checkpoints = relayed(scan)
    verdict = verdict_of(checkpoints)
    assert (verdict.verdict, verdict.flagged) == ("backdoored", (2,))
    assert relay.search.rounds > 3
    assert verdict.clean_accuracy is not None


def test_what_was_checked_is_not_checked_again() -> None:
    scan = Scan(PlantedOracle(plant=corner_plant(2)))
    relayed(scan)
    assert scan.purposes.count("check") == 1


def test_a_finding_of_the_first_stage_ends_the_scan() -> None:
    scan = Scan(PlantedOracle(plant=corner_plant(2)))
    relay, checkpoints = relayed(scan, replace(SECOND, then=replace(FIRST, then=None)))
    assert verdict_of(checkpoints).verdict == "backdoored"
    assert isinstance(relay.search, RandomPatch)
    assert checkpoints[-1].queries == scan.victim.images_seen


def test_a_stage_alone_is_a_driver_of_its_own() -> None:
    scan, plain = Scan(PlantedOracle()), Scan(PlantedOracle())
    alone = replace(FIRST, then=None)
    checkpoints = relayed(scan, alone)[1]
    search = RandomPatch(alone.search, TASK, 0)  # type: ignore[arg-type]
    direct = plain.run((search, RULES["small_patch"]), config=QUICK)
    assert [(c.queries, c.rounds) for c in checkpoints] == [(c.queries, c.rounds) for c in direct]


@pytest.mark.parametrize(("cap", "stages"), [(220 + 100 * 4, 1), (900, 2), (None, 2)])
def test_clean_is_said_only_where_every_stage_came_to_its_end(cap: int | None, stages: int) -> None:
    scan = Scan(PlantedOracle(), cap=cap)
    _, checkpoints = relayed(scan)
    verdict, ended = verdict_of(checkpoints), cap is None
    assert (verdict.verdict, verdict.stopped) == (("clean", "converged") if ended else ("undecided", "budget"))
    assert scan.purposes.count("check") == 1
    spent_alone = 16 + 70 + 72 + 72
    assert (scan.victim.images_seen == spent_alone) == (stages == 1)
    notes = verdict_of(checkpoints).notes
    assert (f"stage 2 of 2 was not started: it needs a budget of {spent_alone + 400}" in notes) == (stages == 1)


def test_a_stage_that_comes_to_no_end_leaves_the_word_to_the_one_before() -> None:
    scan = Scan(PlantedOracle(), cap=900)
    relay, checkpoints = relayed(scan)
    verdict = verdict_of(checkpoints)
    assert (verdict.verdict, verdict.stopped) == ("undecided", "budget")
    assert "stage 2 of 2 did not complete (budget)" in verdict.notes
    assert relay.search.rounds == 3, "the classes are those of the stage that came to its end"


def test_a_service_that_refuses_in_a_later_stage_leaves_the_scan_undecided() -> None:
    class Refusing(PlantedOracle):
        def query(self, images: Tensor, tag: Tag | None = None) -> Answer:
            if self.images_seen > 300:
                raise Refused(len(images), "near_duplicate")
            return super().query(images, tag)

    verdict = verdict_of(relayed(Scan(Refusing()))[1])
    assert (verdict.verdict, verdict.stopped) == ("undecided", "refused")
    assert "did not complete (refused)" in verdict.notes


def test_what_a_stage_leaves_open_a_clean_one_after_it_does_not_close() -> None:
    """A rule that flags what unseen images cannot decide: they are too few."""
    few = replace(IMAGES, verify=IMAGES.verify.take(np.arange(4)))
    first = replace(SECOND, then=replace(FIRST, then=None))
    scan = Scan(PlantedOracle(plant=corner_plant(2)))
    checkpoints = list(Relay(Course(first, 0, None), few, lambda: 4).run(scan.evaluator))
    verdict = verdict_of(checkpoints)
    assert (verdict.verdict, verdict.stopped) == ("undecided", "converged")
    assert "which does not decide it" in verdict.notes


def test_nan_in_a_refinement_leaves_the_verdict() -> None:
    preset = replace(SECOND, refine=RefineConfig(queries=1_300, verify_images=8))
    plain = Scan(PlantedOracle(plant=corner_plant(2)))
    decided = relayed(plain, replace(SECOND, refine=None))[1][-1].queries
    victim = NotANumberOracle(plant=corner_plant(2))
    victim.after = decided + 150
    verdict = verdict_of(relayed(Scan(victim), preset)[1])
    assert (verdict.verdict, verdict.flagged) == ("backdoored", (2,))
    assert "was not refined to the end" in verdict.notes


def test_an_invalid_model_is_asked_no_more() -> None:
    scan = Scan(PlantedOracle(plant=None))
    broken = replace(IMAGES, search=IMAGES.search.with_labels((IMAGES.search.labels + 1) % 4, 4))
    checkpoints = list(Relay(Course(FIRST, 0, None), broken, lambda: 4).run(scan.evaluator))
    assert verdict_of(checkpoints).verdict == "invalid"
    assert scan.victim.images_seen == QUICK.check_images
