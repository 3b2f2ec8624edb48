"""Settings that a preset does not have: what the message says was perhaps meant."""

from __future__ import annotations

from typing import Any

import pytest

from simkit.errors import ConfigError
from simkit.search.b3d import B3DConfig
from simkit.search.race import RaceConfig
from studies.scan.config import ScanConfig

B3DS = "a setting of b3d, b3d-ss, b3d-slides: choose one of these, as in --preset b3d"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"search": {"sigma": 0.1}}, f"search has no setting 'sigma' in this preset; sigma is {B3DS}"),
        ({"search": {"sampels": 1}}, f"search has no setting 'sampels'; did you mean 'samples'; samples is {B3DS}"),
        ({"search": {"lambda": 1}}, f"lambda of the slides is search.sparsity.weight; sparsity is {B3DS}"),
        ({"search": {"k": 1}, "preset": "b3d"}, "search has no setting 'k'; k of the slides is search.samples"),
        ({"search": {"sampels": 1}, "preset": "b3d"}, "search has no setting 'sampels'; did you mean 'samples'?"),
        (
            {"search": {"rounds": 3}, "preset": "b3d"},
            "rounds is a setting of random-patch: choose one of these, as in --preset random-patch",
        ),
        (
            {"search": {"sparsity": {"wieght": 1}}, "preset": "b3d-ss"},
            "search.sparsity has no setting 'wieght'; did you mean 'weight'?",
        ),
        ({"search": {"qqq": 1}, "preset": "b3d"}, "search has no setting 'qqq'; it has samples, images, steps, sigma"),
        ({"driver": {"check_image": 1}}, "driver has no setting 'check_image'; did you mean 'check_images'?"),
        ({"samples": 50}, "scan: no setting 'samples'; did you mean 'search.samples'?"),
        ({"lambda": 50}, "scan: no setting 'lambda'; did you mean 'search.sparsity.weight'?"),
        ({"buget": 50}, "scan: no setting 'buget'; did you mean 'budget'?"),
        ({"sampels": 3}, "scan: no setting 'sampels'; did you mean 'search.samples'"),
        ({"sigm": 3}, "scan: no setting 'sigm'; did you mean 'search.sigma'"),
        (
            {"search": {"larges_side": 3}},
            "did you mean 'largest_share', or 'largest_side'; largest_side is a setting of",
        ),
        ({"search": {"smoothing": 3}}, f"no setting 'smoothing'; it is search.sparsity.smoothing; sparsity is {B3DS}"),
        ({"search": {"smoothing": 3}, "preset": "b3d"}, "no setting 'smoothing'; it is search.sparsity.smoothing"),
        ({"preset": "rcae"}, "no preset 'rcae'; did you mean 'race'?"),
        ({"rule": {"name": "smal_patch"}, "preset": "b3d"}, "no rule 'smal_patch'; did you mean 'small_patch'?"),
    ],
    ids=str,
)
def test_an_unknown_name_is_answered_with_what_was_meant(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ScanConfig.of(settings)
    assert message in str(caught.value)


def test_settings_that_a_preset_has_are_taken() -> None:
    b3d = ScanConfig.of({"preset": "b3d", "search": {"sigma": 0.5}}).resolved().search
    race = ScanConfig.of({"search": {"queries": 100}}).resolved().search
    assert isinstance(b3d, B3DConfig)
    assert isinstance(race, RaceConfig)
    assert (b3d.sigma, race.queries) == (0.5, 100)
