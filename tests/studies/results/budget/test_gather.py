"""From files of lines to curves: known answers, zoos apart or pooled, what has no place on the axis."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from simkit.errors import ConfigError
from studies.results.budget.gather import LEAST, BudgetConfig, covering, gather_budget
from studies.results.budget.records import BudgetStudy, Curve, Money, Paired
from studies.scan.price import Price
from studies.statistics import share
from studies.study.result_line import ResultLine
from tests.studies.results.table.made import ORACLE, config, line, lines, write


def study(folder: Path, told: list[ResultLine], **wanted: Any) -> BudgetStudy:
    return gather_budget([write(folder / "a.jsonl", told)], BudgetConfig(**wanted))


def of(told: BudgetStudy) -> dict[str, Curve]:
    (panel,) = told.panels
    return {curve.label: curve for curve in panel.curves}


def four() -> list[ResultLine]:
    """Verdicts after 1,000 (clean, right), 2,000 (backdoored, right), 3,000 (clean victim accused), 4,000 (missed)."""
    return lines("cbbc")


def test_known_figures(tmp_path: Path) -> None:
    curve = of(study(tmp_path, four(), budgets=(500, 1000, 2999, 4000)))["probe"]
    told = [(p.budget, p.accuracy, p.tpr, p.fpr, p.undecided) for p in curve.points]
    assert told == [
        (500, share(0, 4), share(0, 2), share(0, 2), share(4, 4)),
        (1000, share(1, 4), share(0, 2), share(0, 2), share(3, 4)),
        (2999, share(2, 4), share(1, 2), share(0, 2), share(2, 4)),
        (4000, share(2, 4), share(1, 2), share(1, 2), share(0, 4)),
    ]
    assert {(p.victims, p.backdoored, p.clean) for p in curve.points} == {(4, 2, 2)}
    assert [p.budget for p in curve.steps] == [300, 1000, 2000, 3000, 4000, 20_000]


def test_undecided_may_count_as_clean(tmp_path: Path) -> None:
    curve = of(study(tmp_path, four(), budgets=(500, 4000), undecided_as="clean"))["probe"]
    told = [(p.accuracy, p.tpr, p.fpr, p.undecided) for p in curve.points]
    assert told[0] == (share(2, 4), share(0, 2), share(0, 2), share(4, 4))
    assert told[1] == (share(2, 4), share(1, 2), share(1, 2), share(0, 4))
    invalid = of(study(tmp_path, lines("i"), budgets=(5000,), undecided_as="clean"))["probe"]
    assert invalid.points[0].accuracy == share(0, 1)


def test_repeats_are_told_by_their_seed_and_are_no_rivals(tmp_path: Path) -> None:
    again = lines("cbbc", config=config() | {"seed": 1})
    rival = lines("cbbc", detector="race")
    told = study(tmp_path, [*four(), *again, *rival], budgets=(4000,))
    assert set(of(told)) == {"Race of patches", "probe, seed 0", "probe, seed 1"}
    (panel,) = told.panels
    assert {frozenset((pair.first, pair.second)) for pair in panel.pairs} == {
        frozenset(("Race of patches", f"probe, seed {seed}")) for seed in (0, 1)
    }


def test_budgets_of_one_method_are_one_curve(tmp_path: Path) -> None:
    small = [line(i, "undecided", stopped="budget", queries=990, config=config(1000)) for i in range(4)]
    (curve,) = of(study(tmp_path, [*small, *four()], budgets=(1000, 4000))).values()
    assert (curve.budgets, curve.victims, curve.end, curve.label) == ((1000, 300_000), 4, None, "probe")
    assert [p.undecided.hits for p in curve.points] == [3, 0]


def test_a_curve_ends_where_somebody_is_unknown(tmp_path: Path) -> None:
    some = [line(i, "undecided", stopped="budget", queries=990, config=config(1000)) for i in (5, 7)]
    curve = of(study(tmp_path, [*four(), *some], budgets=(500, 1000, 2000)))["probe"]
    assert (curve.end, curve.silent) == (1000, 2)
    assert [p.budget for p in curve.points] == [500, 1000]
    assert max(p.budget for p in curve.steps) == 1000


def test_settings_and_services_stand_apart(tmp_path: Path) -> None:
    labels = config() | {"oracle": ORACLE | {"label_only": True}}
    rounded = config() | {"oracle": ORACLE | {"decimals": 2}}
    told = [*four(), *lines("cb", config=labels), *lines("cb", config=rounded), *lines("cb", config=config(steps=9))]
    found = of(study(tmp_path, told))
    assert {curve.service for curve in found.values()} == {"scores", "label", "decimals 2"}
    assert len(found) == 4
    assert sum(bool(curve.changed) for curve in found.values()) == 4


def test_a_detector_has_one_name_behind_every_service(tmp_path: Path) -> None:
    behind = config(steps=9) | {"oracle": {"label_only": True}}
    alone = of(study(tmp_path, [*four(), *lines("cb", config=behind)]))
    assert {curve.name for curve in alone.values()} == {"probe"}
    two = of(study(tmp_path, [*four(), *lines("cb", config=behind), *lines("cb", config=config(steps=9))]))
    assert len({curve.name for curve in two.values()}) == 2
    same = {curve.service: curve.name for curve in two.values() if ("search.steps", "9") in curve.changed}
    assert len(set(same.values())) == 1


def test_one_s_own_detector_has_points_where_it_was_run(tmp_path: Path) -> None:
    def own(budget: int, verdicts: str) -> list[ResultLine]:
        return lines(verdicts, detector="own:D", config={"budget": budget, "oracle": ORACLE, "detector": {"kind": "D"}})

    told = study(tmp_path, [*own(700, "cccc"), *own(9000, "cbcb")])
    (curve,) = of(told).values()
    assert (curve.stands, curve.end) == (False, None)
    assert [(p.budget, p.accuracy) for p in curve.points] == [(700, share(2, 4)), (9000, share(4, 4))]
    assert {700, 9000} < set(told.budgets)


def test_white_boxes_have_no_place(tmp_path: Path) -> None:
    white = lines("cb", detector="nc", forward_passes=9, backward_passes=3, queries=0)
    (panel,) = study(tmp_path, [*four(), *white]).panels
    assert ([curve.label for curve in panel.curves], panel.left_out) == (["probe"], ("nc",))
    own = lines("cb", detector="own:W", white_box=True, queries=0)
    assert study(tmp_path, [*four(), *own]).panels[0].left_out == ("own:W",)
    with pytest.raises(
        ConfigError, match="no result line has queries: nc is white-box; add lines of a black-box detector"
    ):
        study(tmp_path, white)


def test_the_spend_of_a_budget_is_what_scans_took_of_it(tmp_path: Path) -> None:
    curve = of(study(tmp_path, four(), budgets=(500, 2500, 9000), price=Price(3.0, "USD")))["probe"]
    assert [p.spent for p in curve.points] == [500, (1000 + 2000 + 2500 + 2500) / 4, 2500]
    assert [p.cost for p in curve.points] == [Money(*both, "USD") for both in ((1.5, 1.5), (6.0, 7.5), (7.5, 27.0))]
    priced = config() | {"oracle": ORACLE | {"price_per_thousand": 2.0, "currency": "EUR"}}
    stated = of(study(tmp_path, lines("cb", config=priced), budgets=(500,)))
    assert [c.points[0].cost for c in stated.values()] == [Money(1.0, 1.0, "EUR")]
    assert curve.points[0].cost is not None
    assert of(study(tmp_path, four()))["probe"].points[0].cost is None


def test_a_verdict_stands_before_what_it_found_is_refined(tmp_path: Path) -> None:
    told = [one.model_copy(update={"decision_queries": one.queries - 900}) for one in four()]
    curve = of(study(tmp_path, told, budgets=(100, 1100)))["probe"]
    assert [(p.accuracy, p.spent) for p in curve.points] == [(share(1, 4), 100), (share(2, 4), (1000 + 3 * 1100) / 4)]
    assert [p.budget for p in curve.steps][:3] == [100, 1000, 1100]
    older = [one.model_copy(update={"notes": "class 1 refined from 4 to 3 pixels"}) for one in four()]
    assert (of(study(tmp_path, told))["probe"].refined, of(study(tmp_path, older))["probe"].refined) == (0, 4)


def test_pairs_differ_in_the_service_or_in_the_detector(tmp_path: Path) -> None:
    labels = config() | {"oracle": {"label_only": True}}
    told = [*lines("cbcb"), *lines("cccc", detector="nc"), *lines("bbcb", config=labels)]
    (panel,) = study(tmp_path, told, budgets=(10, 4000)).panels
    assert [(pair.first, pair.second) for pair in panel.pairs] == [("probe", "nc"), ("probe", "probe, label")]
    second, first = panel.pairs
    assert [(t.victims, t.only_first, t.only_second, t.p, t.adjusted) for t in first.tests] == [
        (4, 0, 0, 1.0, 1.0),
        (4, 1, 0, 1.0, 1.0),
    ]
    assert second.tests[1] == Paired(4000, 4, 2, 0, 0.5, 1.0)


def test_prices_below_nothing_are_refused() -> None:
    for price in (-1.0, math.inf, math.nan):
        with pytest.raises(ConfigError, match="give 0 or more"):
            BudgetConfig(price=Price(price, "USD"))


def test_zoos_are_pooled_on_demand_alone(tmp_path: Path) -> None:
    other = [line(i, "clean", zoo="large", model_hash=f"large {i}", config=config(7000)) for i in range(3)]
    apart = study(tmp_path, [*four(), *other])
    assert [(panel.zoos, panel.curves[0].victims) for panel in apart.panels] == [(("small",), 4), (("large",), 3)]
    (panel,) = study(tmp_path, [*four(), *other], pool=True).panels
    assert (panel.zoos, panel.victims.count, [c.victims for c in panel.curves]) == (("small", "large"), 7, [7])
    assert panel.curves[0].points[-1].accuracy == share(4, 7)


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    tuned = [one.model_copy(update={"split": "tune"}) for one in four()]
    assert study(tmp_path, [*lines("cb", detector="nc"), *tuned]).left_out == (("tune", 4),)
    assert study(tmp_path, tuned).split == "tune"
    with pytest.raises(ConfigError, match="--split tune"):
        study(tmp_path, tuned, split="report")
    with pytest.raises(ConfigError, match="--detector none: no result line is of it; choose from probe"):
        study(tmp_path, four(), detectors=("probe", "none"))
    with pytest.raises(ConfigError, match="0 queries; give 1 or more"):
        BudgetConfig(budgets=(100, 0))


def test_a_detector_may_be_named(tmp_path: Path) -> None:
    assert list(of(study(tmp_path, [*four(), *lines("cb", detector="nc")], detectors=("nc",)))) == ["nc"]


def test_round_budgets_cover_the_data() -> None:
    assert covering({256, 128_529})[:2] == (200, 300)
    assert covering({256, 128_529})[-2:] == (100_000, 200_000)
    assert covering({10_304}) == (2000, 3000, 5000, 10_000, 20_000, 30_000, 50_000, 100_000)
    assert covering({1}) == (1, 2, 3, 5, 10, 20, 30, 50)
    for amount in (1, 7, 30, 999, 10**9):
        told = covering({amount})
        assert told[0] <= amount <= told[-1]
        assert len(told) >= LEAST
