"""What detectors are called in tables, in the order in which tables show them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

TITLES: Mapping[str, str] = MappingProxyType(
    {
        "neural-cleanse-reference": "Neural Cleanse (reference)",
        "neural-cleanse-quick": "Neural Cleanse (quick)",
        "tabor-reference": "TABOR (reference)",
        "tabor-quick": "TABOR (quick)",
        "auto": "Race, then B3D",
        "race": "Race of patches",
        "race-wide": "Race of large patches",
        "efficient": "B3D",
        "slides": "B3D (as its slides print it)",
        "b3d-ss": "B3D-SS",
        "random-patch": "Random patches",
        "annealing": "Annealing (DeBackdoor-like)",
        "label-noise": "Label noise (CBD-like)",
        "aeva": "AEVA (for labels)",
        "k-arm": "K-Arm's pre-screen",
    }
)
"""By the name on the command line; a detector that is not here goes by its name."""
