"""A scan in stages, from its ledger: broken off anywhere it goes on, and it can be replayed, read and checked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from db.check import check
from db.stored import StoredRun
from simkit.errors import ConfigError
from simkit.search.presets import Preset, preset
from simkit.search.race import RaceConfig
from simkit.search.refine import RefineConfig
from simkit.search.turns import Turns
from simkit.verdict import RULES
from studies.ledgers.run_settings import OwnCode
from studies.replay.ask_again import AskAgain, replay
from studies.replay.other_rules import replayed
from studies.replay.rebuild import ReplayInputs
from studies.scan import ScanResult, scan
from studies.study.unit import decision_queries
from tests.fakes import corner_plant
from tests.studies.scan.test_ledger_run import Stopping
from tests.studies.scans import IMAGES, arrays, told

AUTO = preset("auto")
LATE = Preset(
    RaceConfig(largest_share=0.12, patches=2, first=60, queries=4_000, restart=2_000),
    replace(RULES["small_share"], threshold=0.12),
    AUTO.driver,
    refine=RefineConfig(queries=1_300, verify_images=16),
)
STAGED = Preset(
    RaceConfig(largest_share=1e-3, first=20, queries=400, restart=90),
    "small_share",
    AUTO.driver,
    then=LATE,
)
"""Four hundred queries of single pixels, which find nothing; then squares, which find the corner; then refinement."""
TURNS = replace(STAGED, turns=Turns((90, 150)), then=replace(LATE, turns=Turns((120,))))
"""The same in turns: single pixels, squares, single pixels, squares."""


def scanned_in_stages(db: Path, model: Any = None, budget: int = 6_000, **settings: Any) -> ScanResult:
    told_of: dict[str, Any] = {
        "search_images": 64,
        "verify_images": 48,
        "name": "victim",
        "preset": STAGED,
        "budget": budget,
    }
    return scan(model or Stopping(plant=corner_plant(3)), images=IMAGES, db=db, **(told_of | settings))


def test_each_stage_finds_what_the_one_before_could_not(tmp_path: Path) -> None:
    result = scanned_in_stages(tmp_path / "scan.db")
    assert (result.verdict, result.flagged, result.rule) == ("backdoored", (3,), "small_share")
    assert (result.threshold, result.rule_limit) == (1.0, 0.12)
    assert "class 3 refined from" in result.notes
    assert result.classes[3].trials == 16
    assert check(tmp_path / "scan.db") == []


@pytest.mark.parametrize("stop_at", [1, 4, 9, 14, 22, 30])
def test_broken_off_anywhere_it_goes_on_to_the_same(stop_at: int, tmp_path: Path) -> None:
    whole, model = scanned_in_stages(tmp_path / "whole.db"), Stopping(plant=corner_plant(3))
    model.stop_at = stop_at
    with pytest.raises(KeyboardInterrupt):
        scanned_in_stages(tmp_path / "broken.db", model)
    result = scanned_in_stages(tmp_path / "broken.db", model)
    assert told(result) == told(whole)
    assert arrays(result) == arrays(whole)
    assert StoredRun.read(tmp_path / "broken.db").queries == whole.spent


@pytest.mark.parametrize(
    ("oracle", "preset"), [("scores", STAGED), ("label", STAGED), ("noisy", STAGED), ("label", TURNS)]
)
def test_every_query_of_every_stage_is_rebuilt(oracle: str, preset: Preset, tmp_path: Path) -> None:
    db = tmp_path / "scan.db"
    result = scanned_in_stages(db, oracle=oracle, preset=preset)
    again = replay(db, 1, AskAgain(Stopping(plant=corner_plant(3))), ReplayInputs(images=IMAGES, own=OwnCode(preset)))
    assert (again.stored, again.compared.equal, again.holds) == (result.spent, result.spent, True)


@pytest.mark.parametrize("stop_at", [3, 7, 12, 25])
def test_broken_off_in_any_turn_it_goes_on_to_the_same(stop_at: int, tmp_path: Path) -> None:
    whole, model = scanned_in_stages(tmp_path / "whole.db", preset=TURNS), Stopping(plant=corner_plant(3))
    assert whole.verdict == "backdoored"
    model.stop_at = stop_at
    with pytest.raises(KeyboardInterrupt):
        scanned_in_stages(tmp_path / "broken.db", model, preset=TURNS)
    result = scanned_in_stages(tmp_path / "broken.db", model, preset=TURNS)
    assert (told(result), arrays(result)) == (told(whole), arrays(whole))
    assert check(tmp_path / "broken.db") == []


def test_a_smaller_budget_is_read_off_and_another_rule_is_not(tmp_path: Path) -> None:
    db, given = tmp_path / "scan.db", ReplayInputs(images=IMAGES, own=OwnCode(STAGED))
    result = scanned_in_stages(db)
    early, late = replayed(db, 1, at=[60, 6_000], given=given)
    assert (early.verdict, late.verdict, late.spent) == ("undecided", "backdoored", result.spent)
    with pytest.raises(ConfigError, match="one rule per stage"):
        replayed(db, 1, rules=[RULES["small_patch"]], given=given)


@pytest.mark.parametrize("preset", [STAGED, TURNS], ids=["staged", "turns"])
def test_a_clean_model_is_clean_only_at_budgets_that_pay_for_every_stage(preset: Preset, tmp_path: Path) -> None:
    """Read off the whole run's ledger as in a scan with that budget, whether a stage was cut or not begun."""
    assert preset.then is not None
    stages = replace(preset, then=replace(preset.then, least_queries=150))
    db, given = tmp_path / "scan.db", ReplayInputs(images=IMAGES, own=OwnCode(stages))
    whole = scanned_in_stages(db, Stopping(), preset=stages)
    assert (whole.verdict, whole.stopped) == ("clean", "converged")
    budgets = [100, 400, 1_000, whole.spent - 1, whole.spent]
    for reading in replayed(db, 1, at=budgets, given=given):
        fresh = scanned_in_stages(tmp_path / f"{reading.at}.db", Stopping(), preset=stages, budget=reading.at or 0)
        assert (reading.verdict, reading.stopped, reading.spent) == (fresh.verdict, fresh.stopped, fresh.spent)
        assert (reading.notes, reading.score) == (fresh.notes, fresh.score)
        assert reading.verdict == ("clean" if reading.at == whole.spent else "undecided")


def test_other_rules_are_read_off_a_run_that_was_refined(tmp_path: Path) -> None:
    db, given = tmp_path / "scan.db", ReplayInputs(images=IMAGES, own=OwnCode(LATE))
    result = scanned_in_stages(db, preset=LATE)
    assert "class 3 refined from" in result.notes
    none = replace(RULES["small_share"], threshold=1e-9)
    same, other = replayed(db, 1, rules=[RULES["small_patch"], none], given=given)
    assert (same.verdict, same.held) == ("backdoored", True)
    assert (other.verdict, other.held) == ("undecided", False)


def test_the_queries_of_the_decision_are_those_before_refinement(tmp_path: Path) -> None:
    db, given = tmp_path / "scan.db", ReplayInputs(images=IMAGES, own=OwnCode(STAGED))
    result = scanned_in_stages(db)
    decided = decision_queries(StoredRun.read(db), result.spent)
    assert 0 < decided < result.spent - 500
    before, then = replayed(db, 1, at=[decided - 1, decided], given=given)
    assert (before.verdict == "backdoored", then.verdict, then.spent) == (False, "backdoored", decided)
    alone = scanned_in_stages(tmp_path / "alone.db", preset=replace(LATE, refine=None))
    assert decision_queries(StoredRun.read(tmp_path / "alone.db"), alone.spent) == alone.spent


def test_a_verdict_stands_whatever_of_its_refinement_the_ledger_lacks(tmp_path: Path) -> None:
    db, given = tmp_path / "scan.db", ReplayInputs(images=IMAGES, own=OwnCode(LATE))
    whole = scanned_in_stages(tmp_path / "whole.db", preset=LATE)
    short = scanned_in_stages(db, preset=LATE, budget=whole.spent - 150)
    assert short.verdict == "backdoored"
    (larger,) = replayed(db, 1, at=[9_000], given=given)
    assert (larger.verdict, larger.held, larger.spent) == ("backdoored", True, None)


@pytest.mark.parametrize("budget", [40, 150, 500, 1_000, 1_500])
def test_no_budget_is_overspent(budget: int, tmp_path: Path) -> None:
    model = Stopping(plant=corner_plant(3))
    result = scanned_in_stages(tmp_path / "scan.db", model, budget=budget)
    assert result.spent == model.images_seen <= budget
    assert check(tmp_path / "scan.db") == []


def test_a_rule_is_set_for_scans_of_one_stage_alone() -> None:
    with pytest.raises(ConfigError, match="one rule per stage"):
        scan(Stopping(), images=IMAGES, name="victim", preset="auto", rule={"threshold": 0.1})
