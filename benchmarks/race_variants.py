"""The race with one trick less, as detectors of one's own: what each is worth, on tune victims.

simkit study scan ZOO --data DATA --budget 3000 --detector benchmarks.race_variants:WHOLE --out results/ablation.jsonl
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from simkit.search.presets import Preset, preset
from simkit.search.race import RaceConfig

RACE = preset("race")


def without(**changes: Any) -> Preset:
    """The race to its cap, with these settings; labels as scores."""
    return replace(RACE, search=replace(RaceConfig(clean_from=None), **changes), labels=None)


WHOLE = without()
"""Nothing less but the early end, which costs finds if it costs anything."""

SINGLE = without(patches=1)
"""Collages of one patch."""

NO_CHILDREN = without(children=0, fresh=16)
"""Fresh collages alone; nothing is halved or mutated."""

NO_RETESTS = without(retests=2)
"""The budget goes to new collages; the best pair alone is tried on more images."""

CLASS_BASELINE = without(prior_weight=1e9)
"""Margins above the class's mean, whatever the image."""

SHRUNK = without(shrinkage=1.0)
"""Values shrunk as the prototype did."""

NO_RESTART = without(restart=1_000_000)
"""One population to the end."""

EARLY_END = RACE
"""With the end for clean models."""

PROTOTYPE = without(
    first=200,
    fresh=10,
    children=20,
    parents=10,
    retests=10,
    retest_images=2,
    patches=1,
    shrinkage=1.0,
    prior_weight=4.0,
    required_trials=8,
    tint_noise=0.25,
)
"""The counts and weights of our prototype; tests and moves as here."""
