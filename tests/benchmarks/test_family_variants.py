"""The variants of the race of families are presets that can be searched, and differ from today's in what they say."""

from __future__ import annotations

import numpy as np

from benchmarks import family_variants
from simkit.search.contract import Task
from simkit.search.family_race import FamilyRaceConfig
from simkit.search.presets import Preset, preset

TASK = Task((3, 32, 32), 10, (np.arange(60) % 10).astype(np.int32))
VARIANTS = {name: value for name, value in vars(family_variants).items() if isinstance(value, Preset)}


def test_every_variant_can_be_searched() -> None:
    assert len(VARIANTS) >= 7
    for variant in VARIANTS.values():
        assert variant.search.search(TASK, 0).ask() is not None


def test_todays_limit_and_test_are_among_them() -> None:
    wide = preset("race-wide")
    assert VARIANTS["PATCHES_6X6"].search == wide.search
    assert VARIANTS["PATCHES_6X6"].driver == wide.driver
    assert VARIANTS["PATCHES_8X8"].search != wide.search
    leaping = VARIANTS["WARPS"].search
    assert isinstance(leaping, FamilyRaceConfig)
    assert [family.name for family in leaping.families] == ["warp"]
