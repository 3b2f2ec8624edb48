"""The presets, by what every one of them owes, and the slides' constants."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simkit.errors import ConfigError
from simkit.search.annealing import Annealing
from simkit.search.b3d import B3D, B3DConfig
from simkit.search.family_race import FamilyRace, FamilyRaceConfig
from simkit.search.mosaic_race import MosaicRace
from simkit.search.picture_race import PictureRaceConfig
from simkit.search.presets import PRESETS, preset
from simkit.search.race import Race
from simkit.search.random_patch import RandomPatch
from simkit.search.source_race import SourceRace
from simkit.search.stage_names import stage_names
from simkit.transforms.families import FAMILIES
from simkit.verdict import RULES
from tests.simkit.search.scans import TASK

LARGE = replace(TASK, image_shape=(3, 24, 24))

RACES: dict[str, type] = {
    **dict.fromkeys(("race", "race-wide", "auto"), Race),
    **dict.fromkeys(("race-families", "race-warps", "race-pictures"), FamilyRace),
    "race-mosaics": MosaicRace,
    "race-sources": SourceRace,
}
KINDS: dict[str, type] = RACES | {
    "race-pictures": FamilyRace,
    "race-sources": SourceRace,
    "random-patch": RandomPatch,
    "annealing": Annealing,
}


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_builds_a_search_and_names_a_rule(name: str) -> None:
    chosen = preset(name)
    plenty = replace(LARGE, image_classes=np.repeat(LARGE.image_classes, 2))  # 32 of each class
    search = chosen.search.search(plenty, seed=0)
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


def test_auto_races_small_patches_then_every_family() -> None:
    kinds = [type(stage.search.search(LARGE, 0)) for stage in preset("auto").stages]
    assert kinds == [Race, FamilyRace, FamilyRace, FamilyRace, MosaicRace]
    families = [
        family.name
        for stage in preset("auto").stages[1:]
        if isinstance(stage.search, FamilyRaceConfig | PictureRaceConfig)
        for family in stage.search.families_on(LARGE.image_shape)
    ]
    assert families == [*FAMILIES]


def test_small_images_leave_out_the_stages_that_have_nothing_to_look_for() -> None:
    assert stage_names(preset("auto")) == ("race", "race-families", "race-warps", "race-pictures", "race-mosaics")
    assert stage_names(preset("auto").on((3, 23, 40))) == ("race", "race-families")
    assert preset("auto").on((1, 24, 24)) == preset("auto")
    assert preset("race-warps").on((1, 8, 8)) == preset("race-warps"), "the first stage is for its own search to refuse"
    with pytest.raises(ConfigError, match="images of 12x12 are too small for waves, blends and warps"):
        preset("race-warps").search.search(TASK, 0)
    between = replace(preset("auto"), then=replace(preset("race-warps"), then=preset("b3d")))
    assert stage_names(between.on((1, 8, 8))) == ("race", "b3d")


def test_label_only_services_leave_out_the_stages_that_need_scores() -> None:
    assert stage_names(preset("auto").without_scores_only()) == ("race", "race-families", "race-warps", "race-pictures")
    assert len(preset("auto").for_answers(labels_only=True).stages) == 4
    assert preset("auto").for_answers(labels_only=False) == preset("auto")
    alone = replace(preset("race-mosaics"), scores_only=True)
    assert alone.without_scores_only() == alone, "the first stage is what was asked for"
    two = replace(preset("race"), then=replace(alone, then=replace(alone, then=preset("race-warps"))))
    assert stage_names(two.without_scores_only()) == ("race", "race-warps")


def test_labels_alone_reach_every_stage() -> None:
    first = preset("auto").for_answers(labels_only=True).stages[0]
    assert first.search == preset("auto").labels != preset("auto").search
    last = replace(preset("race"), then=preset("b3d")).for_answers(labels_only=True).stages[-1]
    assert last.search == preset("b3d").labels != preset("b3d").search
    assert last.decision_rule() == preset("b3d").labels_rule != preset("b3d").decision_rule()
