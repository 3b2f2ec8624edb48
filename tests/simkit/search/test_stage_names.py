"""What the stages of a preset are called: by the presets that run them alone, whatever their lengths are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from simkit.search.presets import PRESETS, Preset
from simkit.search.stage_names import stage_names

ALONE = [name for name, known in PRESETS.items() if known.then is None and known.synthesis is None]
RACES = [name for name in ALONE if name.startswith("race") and hasattr(PRESETS[name].search, "queries")]


@pytest.mark.parametrize("name", ALONE)
def test_a_preset_of_one_stage_has_its_own_name(name: str) -> None:
    assert stage_names(PRESETS[name]) == (name,)


@pytest.mark.parametrize("name", RACES)
def test_a_stage_of_another_length_has_the_name_of_its_preset(name: str) -> None:
    longer: Preset = replace(PRESETS[name], search=replace(PRESETS[name].search, queries=77))  # type: ignore[type-var]
    assert longer != PRESETS[name]
    assert stage_names(longer) == (name,)


def test_two_stages_of_one_kind_have_the_same_name() -> None:
    assert stage_names(replace(PRESETS["race"], then=PRESETS["race"])) == ("race", "race")


def test_other_settings_than_a_presets_are_named_by_their_class() -> None:
    other = replace(PRESETS["race"], search=replace(PRESETS["race"].search, fresh=5))  # type: ignore[type-var]
    assert stage_names(replace(other, then=PRESETS["race-warps"])) == ("Race", "race-warps")


def test_another_rule_than_the_presets_is_told_apart_too() -> None:
    other = replace(PRESETS["race"], rule="below_median")
    assert stage_names(other) == ("Race",)
