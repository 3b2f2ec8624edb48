"""Ablations of the race, as detectors of your own: the effect of each component on tune victims.

simkit study scan ZOO --data DATA --budget 3000 --detector benchmarks.race_variants:WHOLE --out results/ablation.jsonl
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from simkit.search.presets import Preset, preset
from simkit.search.race import RaceConfig
from simkit.search.refine import RefineConfig
from simkit.verdict import SequentialTest

RACE = preset("race")
AUTO = preset("auto")


def without(**changes: Any) -> Preset:
    """The race with changed settings, which also apply to label-only services."""
    return replace(RACE, search=replace(RaceConfig(), **changes), labels=None)


WHOLE = without()
"""The race with rounds of 28 queries, as it is by labels."""

SINGLE = without(patches=1)
"""Collages of one patch."""

NO_CHILDREN = without(children=0, fresh=16)
"""Only fresh collages, without halving or mutation."""

NO_RETESTS = without(retests=2)
"""Queries go to new collages; only the best pair is tried on more images."""

CLASS_BASELINE = without(prior_weight=1e9)
"""Margins above the class's mean instead of the image's baseline."""

SHRUNK = without(shrinkage=1.0)
"""Values shrunk as in the prototype."""

NO_RESTART = without(restart=1_000_000)
"""One population until the end."""

EARLY_END = without(clean_from=1200)
"""With the early end for clean models."""

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
"""Counts and weights of our prototype, with the tests and mutations of the race."""

FIRST = replace(AUTO, then=None, turns=None)
"""The first stage of `auto` alone."""

FIRST_LOOSE = FIRST.refining(RefineConfig.within(500))
"""The same without a test after refinement, as it was before."""

FIRST_LONG = replace(FIRST, search=RaceConfig())
"""The first stage by scores with rounds of 28 queries and the longer test of its own, as it was before."""


def small_rounds_by_labels() -> Preset:
    """The first stage with small rounds by labels as well."""
    assert isinstance(RACE.search, RaceConfig)
    return replace(FIRST, labels=replace(RACE.search, queries=3000))


SMALL_ROUNDS_BY_LABELS = small_rounds_by_labels()
"""See above."""


def first(**changes: Any) -> Preset:
    """The first stage of `auto` by scores, with rounds of 28 queries and other changes of them."""
    return replace(FIRST, search=replace(RaceConfig(queries=2100), **changes))


_SHORT: dict[str, Any] = {"test": SequentialTest(alpha=0.1, beta=0.05), "test_batch": 2}

ROUNDS_28 = first()
"""Rounds of 28 queries, and the longer test."""

ROUNDS_28_SHORT = first(**_SHORT)
"""Rounds of 28 queries, and the shorter test."""

ROUNDS_14_SHORT = first(fresh=2, children=6, retests=6, **_SHORT)
"""Rounds of 14 queries, and the shorter test."""

ROUNDS_9 = first(fresh=1, children=4, retests=4)
"""Rounds of nine queries, and the longer test."""

ROUNDS_9_SHORT = first(fresh=1, children=4, retests=4, **_SHORT)
"""Rounds of nine queries, and the shorter test."""
