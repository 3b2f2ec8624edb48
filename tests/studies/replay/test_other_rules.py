"""Other rules and budgets on stored answers: where a reading is held, a real scan says the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from db.ledger import Ledger
from db.stored import StoredRun
from oracles.errors import ReplayMismatch
from simkit.errors import ConfigError
from simkit.verdict import RULES, Rule
from studies.replay.other_rules import Reading, replayed
from tests.fakes import NotANumberOracle, PlantedOracle
from tests.studies.replay.test_ask_again import GIVEN, SHORT_B3D, scan_into, tampered, victim
from tests.studies.scan.test_ledger_run import Stopping
from tests.studies.scans import scanned

AT = (17, 200, 900, 1_300, 2_000)
OTHERS = [replace(RULES["small_patch"], threshold=5.0), RULES["below_median"]]


def said(reading: Reading) -> tuple[object, ...]:
    return reading.verdict, reading.stopped, reading.flagged


def really(model: Any, rule: Rule, at: int | None, **settings: Any) -> Any:
    chosen = {"rule": {"name": rule.name, "threshold": rule.threshold}, "budget": at}
    return scanned(model, **(settings | chosen))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plant", "settings"),
    [(True, {}), (False, {}), (True, {"oracle": "label"}), (True, SHORT_B3D | {"driver": {"first_look": 5}})],
    ids=str,
)
def test_what_is_held_is_what_a_scan_says(plant: bool, settings: dict[str, Any], tmp_path: Path) -> None:
    db = tmp_path / "scan.db"
    model = victim() if plant else PlantedOracle()
    scan_into(db, model, **settings)
    readings = replayed(db, 1, OTHERS, AT, GIVEN)
    assert [(r.rule, r.limit, r.at) for r in readings] == [(o.name, o.threshold, q) for o in OTHERS for q in AT]
    assert sum(r.held for r in readings) >= len(AT)
    for reading, rule in zip(readings, [rule for rule in OTHERS for _ in AT], strict=True):
        if not reading.held:
            assert (reading.verdict, reading.stopped, reading.flagged) == ("undecided", None, ())
            assert reading.notes.startswith("the ledger")
            continue
        scan = really(model, rule, reading.at, **settings)
        assert said(reading) == (scan.verdict, scan.stopped, scan.flagged)
        if reading.spent is not None:
            assert (reading.score, reading.spent, reading.notes) == (scan.score, scan.spent, scan.notes)


@pytest.mark.parametrize("settings", [{}, {"oracle": "noisy"}, {"budget": 150}, {"budget": 9}, SHORT_B3D], ids=str)
def test_the_runs_own_rule_and_budget_give_its_own_verdict(settings: dict[str, Any], tmp_path: Path) -> None:
    db = tmp_path / "scan.db"
    scan_into(db, **settings)
    result = scanned(victim(), name="victim", **({"budget": 3_000} | settings))
    before, (reading,) = db.read_bytes(), replayed(db, given=GIVEN)
    assert reading.held
    assert said(reading) == (result.verdict, result.stopped, result.flagged)
    assert (reading.score, reading.spent, reading.at) == (result.score, result.spent, result.budget)
    assert db.read_bytes() == before


def test_a_rule_that_would_ask_more_is_undecided(tmp_path: Path) -> None:
    db = tmp_path / "scan.db"
    scan_into(db)  # decided: the search broke off
    never = replace(RULES["small_patch"], threshold=0.5)
    (reading,) = replayed(db, 1, [never], (), GIVEN)
    assert (reading.verdict, reading.held, reading.candidates) == ("undecided", False, ())
    assert reading.notes == "the ledger ends before this rule would decide"
    # never flags, so that next to nothing was asked about unseen images
    driver = {"check_images": 16, "first_look": 20, "verify_images": 2}
    scan_into(db, rule={"threshold": 1.0}, budget=2_999, driver=driver)
    readings = replayed(db, 2, [RULES["small_patch"]], (2_999, 2_000), GIVEN)
    assert [r.notes for r in readings] == ["the ledger does not hold the queries that this rule would send"] * 2
    assert 3 in readings[0].candidates
    assert readings[0].search_score is not None
    assert (readings[0].score, readings[0].spent) == (None, None)


def test_a_run_that_is_not_finished(tmp_path: Path) -> None:
    db, model = tmp_path / "scan.db", Stopping()
    model.stop_at = 20
    with pytest.raises(KeyboardInterrupt):
        scan_into(db, model)
    stored = StoredRun.read(db).queries
    early, late = replayed(db, 1, (), (260, stored + 1_000), GIVEN)
    assert (early.held, early.verdict, early.stopped) == (True, "undecided", "budget")
    assert (late.held, late.notes) == (False, "the ledger ends before this rule would decide")


def test_what_a_guard_refused_is_not_held(tmp_path: Path) -> None:
    db, blocked = tmp_path / "scan.db", {"near_duplicate": 0.05, "near_duplicate_share": 0.2}
    scan_into(db, oracle=blocked)
    assert scanned(victim(), name="victim", budget=3_000, oracle=blocked).stopped == "refused"
    (reading,) = replayed(db, given=GIVEN)
    assert (reading.held, reading.verdict, reading.stopped) == (False, "undecided", None)


def test_an_invalid_run_is_invalid_under_every_rule(tmp_path: Path) -> None:
    db = tmp_path / "scan.db"
    scan_into(db, NotANumberOracle())
    for reading in replayed(db, 1, OTHERS, (2_000,), GIVEN):
        assert (reading.verdict, reading.held, reading.search_score) == ("invalid", True, None)
        assert "NaN" in reading.notes


def test_answers_that_were_changed_are_not_read(tmp_path: Path) -> None:
    db = tmp_path / "scan.db"
    scan_into(db)
    tampered(db, 9, right_checksum=True, every=True)
    with pytest.raises(ReplayMismatch, match=r"run 1: step"):
        replayed(db, 1, given=GIVEN)


def test_wrong_budgets_and_json(tmp_path: Path) -> None:
    db, told = tmp_path / "scan.db", []
    scan_into(db, budget=100)
    with pytest.raises(ConfigError, match="at 0"):
        replayed(db, 1, at=(5, 0), given=GIVEN)
    (reading,) = replayed(db, 1, given=GIVEN, progress=lambda done, total, _note="": told.append((done, total)))
    assert json.loads(json.dumps(reading.to_json(), allow_nan=False)) == reading.to_json()
    assert told == [(1, 1)]
    with Ledger.open(db):  # nothing is locked
        assert replayed(db, 1, given=GIVEN) == [reading]
