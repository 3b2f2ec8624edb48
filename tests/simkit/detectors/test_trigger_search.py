"""A search as a detector: the verdict of a scan, from an access object alone."""

from __future__ import annotations

import pytest

from oracles.budget import Budget
from oracles.meter import MemoryRecorder, Metered, Recorded
from simkit.detectors.access import QueryDataAccess
from simkit.detectors.blackbox.trigger_search import TriggerSearch
from simkit.search.presets import Preset
from simkit.search.random_patch import RandomPatchConfig
from tests.fakes import PlantedOracle, corner_plant, planted_images
from tests.simkit.search.scans import DRIVER

PATCHES = TriggerSearch(Preset(RandomPatchConfig(rounds=60), "small_patch", DRIVER))


@pytest.mark.parametrize("target", [None, 2])
def test_it_tells_a_planted_victim_from_a_clean_one(target: int | None) -> None:
    victim = PlantedOracle(plant=None if target is None else corner_plant(target))
    verdict = PATCHES.detect(QueryDataAccess(victim, planted_images(112)))
    assert (verdict.verdict, verdict.flagged) == (("clean", ()) if target is None else ("backdoored", (target,)))


def test_its_queries_are_paid_and_recorded_with_their_purposes() -> None:
    recorder, budget = MemoryRecorder(), Budget(300)
    oracle = Recorded(Metered(PlantedOracle(), budget), recorder)
    verdict = PATCHES.detect(QueryDataAccess(oracle, planted_images(112), limit=300, steps=recorder))
    assert verdict.verdict == "undecided"
    assert {purpose for _, purpose, _ in recorder.steps} == {"check", "search", "verify"}
    assert sum(len(call.rows) for call in recorder.calls) == budget.spent <= 300


def test_without_steps_its_queries_are_external() -> None:
    recorder = MemoryRecorder()
    oracle = Recorded(PlantedOracle(), recorder)
    PATCHES.detect(QueryDataAccess(oracle, planted_images(112), limit=300))
    assert {call.step for call in recorder.calls} == {None}
