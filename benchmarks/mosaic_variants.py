r"""What matters in the race of mosaics, and what nature answers to, as detectors of your own.

simkit study scan ZOO --data DATA --budget 20000 --detector benchmarks.mosaic_variants:UP_TO_8X8 \
    --out results/mosaics.jsonl
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from simkit.search.climb import ClimbConfig
from simkit.search.mosaic_race import MosaicRaceConfig
from simkit.search.mosaics import MosaicConfig
from simkit.search.presets import Preset, preset
from simkit.transforms.patch import PatchFamily


def mosaics(**settings: Any) -> Preset:
    """The race of mosaics with other settings, without refinement."""
    race = preset("race-mosaics")
    assert isinstance(race.search, MosaicRaceConfig)
    return replace(race, search=replace(race.search, **settings), refine=None)


ALONE = mosaics()
"""The race as it is."""

UP_TO_8X8 = mosaics(patch=PatchFamily(largest_share=1 / 16))
"""Patches of up to 8x8, near the middle of the image 5x5."""

GRAINED = mosaics(mosaic=MosaicConfig(plain=0.0))
"""No plain tiles: all have grains of the brightest colours."""

PLAIN = mosaics(mosaic=MosaicConfig(plain=1.0))
"""Plain tiles only."""

NO_PLACES = mosaics(climb=ClimbConfig(places=()))
"""Tiles stay where the mosaic had them."""

ONE_STEP = mosaics(climb=ClimbConfig(steps=(0.4,)))
"""Colours take a step along every slope, whether it helps or not."""

NO_CLIMB = mosaics(climb=ClimbConfig(sigma=1e-6, steps=(1e-6,)))
"""Tiles in the colours that the mosaic had."""
