"""What the stages of a preset are called."""

from __future__ import annotations

from dataclasses import replace

from simkit.search.contract import SearchConfig
from simkit.search.family_race import FamilyRaceConfig
from simkit.search.mosaic_race import MosaicRaceConfig
from simkit.search.picture_race import PictureRaceConfig
from simkit.search.presets import PRESETS, Preset
from simkit.search.race import RaceConfig


def stage_names(chosen: Preset) -> tuple[str, ...]:
    """The stages of a preset by the names of the presets that run them alone, on other sizes or with other lengths too.

    Others are named by the class of their settings.
    """
    alone = {name: known for name, known in PRESETS.items() if known.then is None and known.synthesis is None}

    def named(stage: Preset) -> str:
        sought = (_of_any_length(stage.search), stage.rule)
        same = (name for name, known in alone.items() if (_of_any_length(known.search), known.rule) == sought)
        return next(same, type(stage.search).__name__.removesuffix("Config"))

    return tuple(map(named, chosen.stages))


def _of_any_length(search: SearchConfig) -> SearchConfig:
    """The settings without the query budget of the search and the least size of images, where they have these."""
    if isinstance(search, MosaicRaceConfig | PictureRaceConfig):
        return replace(search, queries=1, whole_from=1)
    if isinstance(search, RaceConfig | FamilyRaceConfig):
        return replace(search, queries=1)
    return search
