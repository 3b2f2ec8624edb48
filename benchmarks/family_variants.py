r"""What separates backdoors from nature in the race of families, as detectors of your own.

simkit study scan ZOO --data DATA --budget 20000 --detector benchmarks.family_variants:PATCHES_8X8 \
    --out results/family-ablation.jsonl
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from simkit.search.family_race import FamilyRaceConfig
from simkit.search.leaps import LeapConfig
from simkit.search.presets import Preset, preset
from simkit.search.race import RaceConfig
from simkit.transforms.patch import PatchFamily
from simkit.transforms.warp import WarpFamily
from simkit.verdict import SequentialTest

WIDE = preset("race-wide")
FAMILIES = preset("race-families")


def patches(share: float, test: SequentialTest, **search: Any) -> Preset:
    """The race of large patches with another limit and test."""
    assert isinstance(WIDE.search, RaceConfig)
    rule = replace(WIDE.decision_rule(), threshold=share)
    changed = replace(WIDE.search, largest_share=share, **search)
    return replace(WIDE, search=changed, rule=rule, driver=replace(WIDE.driver, confirmation=test), refine=None)


def families(**settings: Any) -> Preset:
    """The race of families with other settings."""
    assert isinstance(FAMILIES.search, FamilyRaceConfig)
    return replace(FAMILIES, search=replace(FAMILIES.search, **settings), labels=None, refine=None)


PATCHES_8X8_LOOSE = patches(1 / 16, SequentialTest(0.95, 0.8), required_trials=5, required_success=0.8)
"""Large patches as they were searched for before: a sixteenth of the image under a test of 95 % against 80 %."""

PATCHES_8X8 = patches(1 / 16, WIDE.driver.confirmation)
"""The same patches under today's test."""

PATCHES_6X6 = patches(9 / 256, WIDE.driver.confirmation)
"""Today's limit and test."""

FAMILIES_8X8 = families(patch=PatchFamily(largest_share=1 / 16), warp=WarpFamily(), queries=6000)
"""The race of families with patches of up to a sixteenth of the image."""

NO_LEAPS = families(warp=WarpFamily(), queries=6000, leap=LeapConfig(each=0))
"""The race of families without candidates along slopes."""

ALL = families(warp=WarpFamily(), queries=6000)
"""One race of all families, warps among them."""

_ONLY_WARPS = {"patch": None, "wave": None, "blend": None, "warp": WarpFamily(), "queries": 6000}

WARPS = families(**_ONLY_WARPS)
"""Warps alone, with the numbers of new candidates that the other families have."""

WARPS_NO_LEAPS = families(**_ONLY_WARPS, leap=LeapConfig(each=0))
"""The same without candidates along slopes."""

WARPS_FEW = families(**_ONLY_WARPS, fresh=4, children=8)
"""Warps alone with fewer new candidates in a round."""

WARPS_MANY_LEAPS = families(**_ONLY_WARPS, leap=LeapConfig(each=8))
"""Warps alone with more candidates along slopes."""

WARPS_FEW_AND_LEAPS = families(**_ONLY_WARPS, fresh=4, children=8, leap=LeapConfig(each=8))
"""Both, as `race-warps` was."""

WARPS_SHRUNK = families(**_ONLY_WARPS, fresh=4, children=8, leap=LeapConfig(each=8), shrinkage=1.0)
"""The same with a mean of few answers shrunk as by one answer of value 0, as `race-warps` is."""

FAMILIES_FEW = families(queries=6000, fresh=4, children=8)
"""Waves, blends and patches with fewer new candidates in a round."""

FAMILIES_WHOLE = families(queries=6000)
"""Waves, blends and patches with the default numbers of new candidates."""

ONE_BY_ONE = preset("auto").one_by_one()
"""`auto` with each stage run to its end before the next one starts, as it was before the stages took turns."""
