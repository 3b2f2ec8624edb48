"""The slides' own table, to stand beside ours: other victims, other data, other budgets."""

from __future__ import annotations

from types import MappingProxyType

from studies.statistics import Share, share

CONTEXT = (
    "Context only: what the slides of B3D's authors print (Dong et al., ICCV 2021) for other victims, on other data and"
    " at other budgets. Nothing here reproduces it. The intervals are ours, of their percentages and their numbers of"
    " models."
)

MODELS = MappingProxyType({"CIFAR-10": 200, "GTSRB": 172, "ImageNet": 200})
"""Models of each zoo of the slides: 50 clean and 150 backdoored, 43 and 129, 50 and 150."""

_RIGHT = MappingProxyType(
    {
        "Neural Cleanse": (190, 172, 192),  # 95.0, 100.0, 96.0 %
        "TABOR": (191, 172, 190),  # 95.5, 100.0, 95.0 %
        "B3D": (195, 172, 192),  # 97.5, 100.0, 96.0 %
        "B3D-SS": (195, 172, 191),  # 97.5, 100.0, 95.5 %
    }
)
"""Verdicts right, by method and zoo."""


def slides_table() -> dict[str, dict[str, Share]]:
    """By method and zoo, the slides' accuracy with its Wilson interval."""
    return {
        method: {zoo: share(hits, models) for (zoo, models), hits in zip(MODELS.items(), right, strict=True)}
        for method, right in _RIGHT.items()
    }
