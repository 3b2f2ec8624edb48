"""The variants of B3D can be searched, and today's settings are among them."""

from __future__ import annotations

import numpy as np

from benchmarks import b3d_variants
from simkit.search.contract import Task
from simkit.search.presets import Preset, preset

TASK = Task((3, 32, 32), 10, (np.arange(60) % 10).astype(np.int32))
VARIANTS = {name: value for name, value in vars(b3d_variants).items() if isinstance(value, Preset)}


def test_every_variant_can_be_searched() -> None:
    assert len(VARIANTS) >= 6
    for variant in VARIANTS.values():
        assert variant.search.search(TASK, 0).ask() is not None


def test_todays_settings_are_among_them() -> None:
    by_labels = preset("b3d").for_answers(labels_only=True)
    assert VARIANTS["SAMPLES_10_SLOW"].search == preset("b3d").search != VARIANTS["SAMPLES_10"].search
    assert VARIANTS["LABELS_20_WORKING"].search == by_labels.search != VARIANTS["LABELS_20"].search
    rule = VARIANTS["LABELS_20_WORKING"].decision_rule()
    assert (rule.name, rule.threshold) == (by_labels.decision_rule().name, by_labels.decision_rule().threshold)
