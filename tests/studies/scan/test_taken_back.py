"""A scan whose first detection is taken back: its ledger, what is read off it, and when its verdict was reached."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from db.check import check
from db.stored import StoredRun
from simkit.search.presets import Preset
from simkit.search.random_patch import RandomPatchConfig
from simkit.search.refine import is_refinement
from studies.ledgers.run_settings import OwnCode
from studies.replay.other_rules import replayed
from studies.replay.rebuild import ReplayInputs
from studies.scan import ScanResult, scan
from studies.study.unit import decision_queries
from tests.fakes import corner_plant, planted_images
from tests.simkit.search.test_standing import QUICK, REFINE, NaturalOracle, staged

LATER = Preset(RandomPatchConfig(largest_side=2, rounds=60), "small_patch", QUICK)


PRESET, IMAGES = replace(staged(REFINE), then=LATER), planted_images(224, seed=1)


def scanned(db: Path, budget: int = 9_000) -> ScanResult:
    model = NaturalOracle(plant=corner_plant(1))
    counts: dict[str, Any] = {"search_images": 64, "verify_images": 160}
    return scan(model, images=IMAGES, db=db, name="natural", preset=PRESET, budget=budget, **counts)


def test_a_refinement_after_which_the_search_went_on_is_part_of_the_search(tmp_path: Path) -> None:
    db = tmp_path / "scan.db"
    result = scanned(db)
    assert (result.verdict, result.flagged) == ("backdoored", (1,))
    assert check(db) == []
    run = StoredRun.read(db)
    assert any(is_refinement(step.state) for step in run.steps.values())
    assert decision_queries(run, result.spent) == result.spent


def test_what_is_read_off_its_ledger_is_what_a_scan_with_that_budget_says(tmp_path: Path) -> None:
    db, given = tmp_path / "scan.db", ReplayInputs(images=IMAGES, own=OwnCode(PRESET))
    whole = scanned(db)
    for reading in replayed(db, 1, at=[100, 350, 400, 600, whole.spent], given=given):
        fresh = scanned(tmp_path / f"{reading.at}.db", reading.at or 0)
        assert (reading.verdict, reading.flagged, reading.spent) == (fresh.verdict, fresh.flagged, fresh.spent)
