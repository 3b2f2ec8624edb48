"""The presets, by what every one of them owes, and the slides' constants."""

from __future__ import annotations

from dataclasses import replace

import pytest

from simkit.errors import ConfigError
from simkit.search.annealing import Annealing
from simkit.search.b3d import B3D, B3DConfig
from simkit.search.family_race import FamilyRace
from simkit.search.presets import PRESETS, preset
from simkit.search.race import Race
from simkit.search.random_patch import RandomPatch
from simkit.verdict import RULES
from tests.simkit.search.scans import TASK

RACES = {"race": Race, "race-wide": Race, "auto": Race, "race-families": FamilyRace}
KINDS: dict[str, type] = RACES | {"random-patch": RandomPatch, "annealing": Annealing}


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_builds_a_search_and_names_a_rule(name: str) -> None:
    chosen = preset(name)
    search = chosen.search.search(TASK, seed=0)
    assert isinstance(search, KINDS.get(name, B3D))
    assert search.ask() is not None
    assert chosen.decision_rule().name in RULES


def test_slides_are_the_plain_estimators_with_their_constants() -> None:
    slides = preset("b3d-slides").search
    assert isinstance(slides, B3DConfig)
    assert (slides.samples, slides.images, slides.sigma, slides.learning_rate) == (50, 128, 0.1, 0.05)
    assert (slides.baseline, slides.joint, slides.antithetic, slides.exact_sparsity) == ("none", False, False, False)
    assert slides.grid is None
    assert preset("b3d-slides").rule == "below_median"


def test_an_unknown_preset_is_told_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"'fast'.*b3d-slides"):
        preset("fast")


def test_auto_races_small_patches_and_then_every_family() -> None:
    kinds = [type(stage.search.search(TASK, 0)) for stage in preset("auto").stages]
    assert kinds == [Race, FamilyRace]


def test_labels_alone_reach_every_stage() -> None:
    first = preset("auto").for_answers(labels_only=True).stages[0]
    assert first.search == preset("race").labels != preset("race").search
    last = replace(preset("race"), then=preset("b3d")).for_answers(labels_only=True).stages[-1]
    assert last.search == preset("b3d").labels != preset("b3d").search
