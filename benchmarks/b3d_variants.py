r"""Settings of B3D that were compared on tune victims, as detectors of your own.

simkit study scan ZOO --data DATA --budget 300000 --detector benchmarks.b3d_variants:SAMPLES_10_SLOW \
    --out results/b3d-variants.jsonl
simkit study scan ZOO --data DATA --budget 300000 --oracle label --detector benchmarks.b3d_variants:LABELS_20 \
    --out results/b3d-variants.jsonl
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from simkit.search.b3d import B3DConfig
from simkit.search.b3d_settings import B3D_50
from simkit.search.presets import Preset, preset
from simkit.search.sparsity import Mode
from simkit.verdict import RULES

CHOSEN = preset("b3d")
SMALL = replace(RULES["small_share"], threshold=1 / 32)


def scores(**settings: Any) -> Preset:
    """B3D on scores with other settings, under its rule of a quarter of the median."""
    return Preset(replace(B3D_50, **settings), "below_median")


def labels(samples: int, mode: Mode = "proportional", rule: Any = SMALL, **settings: Any) -> Preset:
    """B3D on labels with other settings and another rule."""
    search = CHOSEN.for_answers(labels_only=True).search
    assert isinstance(search, B3DConfig)
    changed = replace(search, samples=samples, sparsity=replace(search.sparsity, mode=mode), **settings)
    return Preset(changed, rule)


SAMPLES_50 = scores()
"""Fifty samples a step, as the preset was before."""

SAMPLES_10 = scores(samples=10, steps=220, check_every=20)
"""Ten samples a step, in twice as many steps."""

SAMPLES_10_SLOW = scores(samples=10, steps=220, check_every=20, learning_rate=0.1)
"""Ten samples, and steps of half the length."""

SAMPLES_10_TUNED = scores(
    samples=10,
    steps=220,
    check_every=20,
    sigma=0.53,
    sparsity=replace(B3D_50.sparsity, weight=0.0043),
)
"""Ten samples, with the sigma and the sparsity weight that were tuned at 10,000 queries."""

SAMPLES_20 = scores(samples=20, steps=110, check_every=10)
"""Twenty samples a step, in half as many steps."""

LABELS_100 = labels(100, steps=120, check_every=10, rule="below_median")
"""Labels as the preset was before: a hundred samples a step, and the rule of a quarter of the median."""

LABELS_20 = labels(20, steps=200, check_every=20)
"""Twenty samples a step; a working trigger of at most 1/32 of the image is flagged."""

LABELS_20_WORKING = labels(20, "working", steps=200, check_every=20)
"""The same, and the size counts only in steps in which a sample works."""

LABELS_20_WORKING_MEDIAN = labels(20, "working", "below_median", steps=200, check_every=20)
"""The size counts only in such steps, under the rule of a quarter of the median."""
