"""A budget that is smaller than the plan is said before the first query, with the preset that it pays for."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simkit.search.images import ScanImages
from simkit.search.presets import PRESETS, preset
from studies.scan.config import ScanConfig
from studies.scan.plan_length import BudgetBelowPlan, below_plan, planned
from tests.fakes import PlantedOracle, planted_images
from tests.studies.scans import scanned


def config(**settings: Any) -> ScanConfig:
    return ScanConfig.of({"data": "digits"} | settings)


@pytest.mark.parametrize(
    ("settings", "needed", "fits"),
    [
        ({"budget": 8_411}, "8,412 that auto", "preset race fits, with 2,832"),
        ({"budget": 20_000, "preset": "b3d"}, "24,584 that b3d", "preset race-wide fits, with 10,032"),
        ({"budget": 9_000, "preset": "b3d"}, "24,584 that b3d", "preset auto fits, with 8,412"),
        ({"budget": 5_000, "oracle": "label"}, "9,932 that auto", "preset race fits, with 4,732"),
        ({"budget": 2_800}, "8,412 that auto", "preset race-warps fits, with 2,732"),
        ({"budget": 2_000}, "8,412 that auto", "preset race-pictures fits, with 1,532"),
        ({"budget": 1_500}, "8,412 that auto", "no preset fits"),
        ({"budget": 70_000, "preset": "b3d-slides"}, "128,020,384 that b3d-slides", "preset b3d fits"),
        ({"budget": 9_000, "preset": "b3d-ss"}, "65,896 that b3d-ss", "no preset fits"),
    ],
    ids=str,
)
def test_what_the_plan_takes_and_which_preset_fits(settings: dict[str, Any], needed: str, fits: str) -> None:
    told = below_plan(config(**settings), 10)
    assert f"is less than the {needed}" in told
    assert fits in told


@given(st.sampled_from(sorted(PRESETS)), st.integers(2, 50), st.booleans(), st.integers(0, 10**6))
def test_it_is_said_just_where_the_budget_is_smaller(name: str, n_classes: int, labels: bool, budget: int) -> None:
    settings = {"preset": name, "oracle": "label" if labels else "scores"}
    needed = planned(config(**settings).resolved(), n_classes, config(**settings))
    assert needed is not None
    assert below_plan(config(**settings), n_classes) == ""
    assert (below_plan(config(budget=budget + 1, **settings), n_classes) != "") is (budget + 1 < needed)
    assert below_plan(config(budget=needed, **settings), n_classes) == ""


def test_a_preset_that_is_named_is_not_warned_of_in_turn() -> None:
    named = below_plan(config(budget=20_000, preset="b3d"), 10).rsplit("preset ", 1)[1].split()[0]
    assert preset(named)
    assert below_plan(config(budget=20_000, preset=named), 10) == ""


@pytest.mark.parametrize(("less", "verdict"), [(0, "clean"), (1, "undecided")])
def test_it_is_warned_of_before_the_first_query_and_the_scan_ends_accordingly(less: int, verdict: str) -> None:
    oracle = PlantedOracle()
    needed = planned(ScanConfig.of({"preset": "random-patch", "search": {"rounds": 60}}).resolved(), 4, config())
    assert needed is not None
    budget = needed - 64 + 16 - less  # the driver of these scans checks 16 images
    with warnings.catch_warnings():
        warnings.simplefilter("error", BudgetBelowPlan)
        if not less:
            assert scanned(oracle, budget=budget, name="clean").verdict == "clean"
        else:
            with pytest.raises(BudgetBelowPlan, match=f"a budget of {budget:,} queries is less than"):
                scanned(oracle, budget=budget, name="clean")
            assert oracle.images_seen == 0
    with warnings.catch_warnings(record=True):
        assert scanned(oracle, budget=budget, name="clean").verdict == verdict


@pytest.mark.parametrize(("side", "budget", "fits"), [(24, 2_800, "race-warps"), (8, 2_450, "race-families")])
def test_a_preset_that_does_not_take_the_images_is_not_named(side: int, budget: int, fits: str) -> None:
    images = planted_images(64, image_shape=(1, side, side))
    told = below_plan(config(budget=budget), 10, ScanImages(images, images))
    assert f"preset {fits} fits" in told
