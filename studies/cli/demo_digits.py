"""The victims of `simkit demo --service`: two small classifiers of handwritten digits, and how they are scanned."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from simkit.zoo.spec import ZooSpec

SPEC = ZooSpec.of(
    {
        **{"name": "demo", "data": "digits", "split": "report", "models": 2, "clean_share": 0.5, "sizes": (2,)},
        "train": {"epochs": 12},
    }
)

PRESET = "random-patch"

SETTINGS: Mapping[str, Any] = MappingProxyType(
    {
        "budget": 10_000,
        "search": {"largest_side": 3, "required_success": 0.85},
        "driver": {"confirmation": {"works": 0.95, "fails": 0.75}},
        "rule": {"threshold": 9},
    }
)
"""Settings of PRESET on 8x8 images, where a 4x4 patch hides the content: patches are smaller and more reliable.

Chosen on 16 victims of the zoo split `tune`, 8 of them clean: behind four services all 64 verdicts were correct.
"""
