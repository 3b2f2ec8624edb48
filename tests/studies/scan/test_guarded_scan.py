"""Scans behind guards: what they cost and wait, what is refused, and that a broken run ends as an unbroken one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from db import reads
from db.check import check
from db.engine import reading
from tests.fakes import PlantedOracle, corner_plant
from tests.studies.scan.test_ledger_run import Stopping
from tests.studies.scans import CHECKED, TemplateNet, arrays, scanned, told

WAITING = {"rate_limit": "10/second", "seconds_per_call": 0.25, "price_per_thousand": 1.5}
REFUSING = {"rate_limit": "7 calls/minute", "rate_burst": 2, "rate_policy": "refuse", "seconds_per_query": 0.001}
BLOCKING = {"near_duplicate": 0.02, "near_duplicate_share": 0.9, "rate_limit": "100/second", "rate_policy": "refuse"}
GUARDS: list[dict[str, Any]] = [WAITING, REFUSING, BLOCKING, {**REFUSING, "score_noise": 0.05, "decimals": 2}]


def refusals(db: Path) -> list[tuple[int, int, str]]:
    """Step, queries and reason of every refusal, in order."""
    sql = "SELECT s.number, f.queries, f.reason FROM refusals AS f JOIN steps AS s ON s.id = f.step_id ORDER BY f.id"
    with reading(db) as connection:
        return [(int(step), int(n), str(why)) for step, n, why in connection.execute(text(sql))]


@pytest.mark.parametrize("budget", [1, 17, 60, 500, 3_000])
@pytest.mark.parametrize("oracle", GUARDS)
def test_model_budget_and_ledger_count_the_same(oracle: dict[str, Any], budget: int, tmp_path: Path) -> None:
    net, db = TemplateNet(target=1), tmp_path / "scan.db"
    result = scanned(net, budget=budget, oracle=oracle, db=db)
    assert net.seen.images - CHECKED == result.spent == len(reads.queries(db)) <= budget
    assert result.refused == sum(queries for _, queries, _ in refusals(db))
    assert check(db) == []


@pytest.mark.parametrize("oracle", GUARDS)
def test_a_broken_scan_waits_and_is_refused_as_an_unbroken_one(oracle: dict[str, Any], tmp_path: Path) -> None:
    plant, whole, db = corner_plant(3), tmp_path / "whole.db", tmp_path / "broken.db"
    unbroken = scanned(PlantedOracle(plant=plant), budget=3_000, oracle=oracle, db=whole, name="victim")
    victim = Stopping(plant=plant)
    for stop_at in (1, 2, 3, 12):
        victim.stop_at = victim.calls + stop_at
        try:
            scanned(victim, budget=3_000, oracle=oracle, db=db, name="victim")
        except KeyboardInterrupt:
            continue
        break  # refused before it came to that
    result = scanned(victim, budget=3_000, oracle=oracle, db=db, name="victim")
    assert told(result) == told(unbroken)
    assert arrays(result) == arrays(unbroken)
    assert refusals(db) == refusals(whole)
    assert victim.images_seen == result.spent
    assert check(db) == []


def test_the_time_is_what_the_rate_and_the_latency_make_of_the_calls(tmp_path: Path) -> None:
    db = tmp_path / "scan.db"
    result = scanned(TemplateNet(), budget=500, oracle=WAITING, db=db)
    calls = int(reads.spend(db)["calls"].sum())
    assert result.api_seconds is not None
    waited = (result.spent - 10) / 10
    assert waited < result.api_seconds < waited + 0.25 * calls + 1.0
    assert result.cost == pytest.approx(1.5 * result.spent / 1000)
    assert result.refused == 0
    frame = reads.verdicts(db)
    assert frame[["api_seconds", "cost"]].to_numpy().tolist() == [[result.api_seconds, result.cost]]
    assert {name: result.to_json()[name] for name in ("api_seconds", "cost")} == {
        "api_seconds": result.api_seconds,
        "cost": result.cost,
    }


def test_latency_alone_is_calls_and_queries_times_theirs(tmp_path: Path) -> None:
    db = tmp_path / "scan.db"
    result = scanned(TemplateNet(), budget=500, oracle={"seconds_per_call": 0.5, "seconds_per_query": 0.25}, db=db)
    calls = int(reads.spend(db)["calls"].sum())
    assert result.api_seconds == pytest.approx(0.5 * calls + 0.25 * result.spent)


def test_nothing_stated_is_nothing_told() -> None:
    result = scanned(TemplateNet(), budget=500)
    assert (result.api_seconds, result.cost) == (None, None)


def test_a_price_of_nothing_and_times_of_nothing_are_told() -> None:
    result = scanned(TemplateNet(), budget=500, oracle={"price_per_thousand": 0.0, "seconds_per_call": 0.0})
    assert (result.api_seconds, result.cost) == (0.0, 0.0)


def test_a_cost_has_the_currency_of_its_price(tmp_path: Path) -> None:
    priced = {"price_per_thousand": 2.0}
    for currency in (None, "USD"):
        stated = priced | ({"currency": currency} if currency else {})
        result = scanned(TemplateNet(), budget=500, oracle=stated, db=tmp_path / f"{currency}.db")
        assert result.cost == pytest.approx(2.0 * result.spent / 1000)
        assert (result.currency, result.to_json()["currency"]) == (currency, currency)
        assert check(tmp_path / f"{currency}.db") == []


def test_told_to_come_later_a_scan_comes_later_and_finds_the_same(tmp_path: Path) -> None:
    plain = scanned(TemplateNet(target=2), budget=5_000)
    result = scanned(TemplateNet(target=2), budget=5_000, oracle=REFUSING, db=tmp_path / "scan.db")
    assert (result.verdict, result.flagged, result.spent) == (plain.verdict, plain.flagged, plain.spent)
    assert result.refused > 0
    assert {why for _, _, why in refusals(tmp_path / "scan.db")} == {"rate"}
    calls = int(reads.spend(tmp_path / "scan.db")["calls"].sum())
    assert result.api_seconds is not None
    assert result.api_seconds >= (calls - 2 - 1) * 60 / 7


def test_near_duplicates_stop_a_scan_which_then_knows_nothing(tmp_path: Path) -> None:
    net, db = TemplateNet(target=2), tmp_path / "scan.db"
    result = scanned(net, budget=5_000, oracle={"near_duplicate": 0.1}, db=db)
    assert (result.verdict, result.stopped, result.flagged) == ("undecided", "refused", ())
    assert "near-duplicates" in result.notes
    assert result.spent + result.refused < 5_000
    assert {why for _, _, why in refusals(db)} == {"near_duplicate"}
    assert result.clean_accuracy == 1.0
    again = scanned(TemplateNet(target=2), budget=5_000, oracle={"near_duplicate": 0.1}, db=db)
    assert again.to_json() == result.to_json()


def test_real_time_is_slept_once_however_often_the_scan_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    oracle = {"rate_limit": "10/second", "real_time": True}
    victim = Stopping(plant=corner_plant(3))
    victim.stop_at = 9
    with pytest.raises(KeyboardInterrupt):
        scanned(victim, budget=1_000, oracle=oracle, db=tmp_path / "scan.db", name="victim")
    before = sum(slept)
    result = scanned(victim, budget=1_000, oracle=oracle, db=tmp_path / "scan.db", name="victim")
    assert before > 0.0
    assert result.api_seconds is not None
    assert sum(slept) < result.api_seconds + before / 2, "and the call that was cut off waits again"
    assert result.api_seconds == pytest.approx(
        scanned(PlantedOracle(plant=corner_plant(3)), budget=1_000, oracle={"rate_limit": "10/second"}).api_seconds
    )
