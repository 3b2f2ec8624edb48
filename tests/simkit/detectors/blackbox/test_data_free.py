"""B3D-SS as a detector: a verdict from queries alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from oracles.budget import Budget
from oracles.meter import MemoryRecorder, Metered, Recorded
from simkit.detectors.access import QueryAccess
from simkit.detectors.blackbox.data_free import DataFreeSearch
from simkit.errors import ConfigError
from simkit.search.presets import Preset, preset
from tests.fakes import PlantedOracle, corner_plant
from tests.simkit.search.scans import B3D_SMALL, DRIVER
from tests.simkit.search.test_images import MAKING, PRICE

SMALL = DataFreeSearch(Preset(B3D_SMALL, "below_median", DRIVER, synthesis=MAKING), 0, 64, 48)


@pytest.mark.parametrize("target", [None, 2])
def test_it_tells_a_planted_victim_from_a_clean_one(target: int | None) -> None:
    verdict = SMALL.detect(QueryAccess(PlantedOracle(plant=None if target is None else corner_plant(target))))
    assert (verdict.verdict, verdict.flagged) == (("clean", ()) if target is None else ("backdoored", (target,)))
    assert verdict.clean_accuracy is None


def test_its_queries_are_paid_and_recorded_with_their_purposes() -> None:
    recorder, budget = MemoryRecorder(), Budget(PRICE + 500)
    oracle = Recorded(Metered(PlantedOracle(), budget), recorder)
    verdict = SMALL.detect(QueryAccess(oracle, limit=PRICE + 500, steps=recorder))
    assert verdict.verdict == "undecided"
    assert {purpose for _, purpose, _ in recorder.steps} == {"check", "search", "verify"}
    assert sum(len(call.rows) for call in recorder.calls) == budget.spent <= PRICE + 500


def test_the_seed_makes_other_images() -> None:
    recorders = [MemoryRecorder() for _ in range(3)]
    for seed, recorder in zip((1, 1, 2), recorders, strict=True):
        replace(SMALL, seed=seed).detect(QueryAccess(Recorded(PlantedOracle(), recorder), limit=PRICE))
    first, again, other = ([call.answers for call in recorder.calls] for recorder in recorders)
    assert first == again != other


def test_it_is_the_preset_by_default_and_takes_none_that_makes_no_images() -> None:
    assert DataFreeSearch().preset == preset("b3d-ss")
    with pytest.raises(ConfigError, match="does not synthesise images"):
        DataFreeSearch(preset("b3d"))
    with pytest.raises(ConfigError, match="1 or more"):
        DataFreeSearch(search_images=0)
