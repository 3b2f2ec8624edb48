"""The table printed in the slides, shown beside ours although victims, data and budgets differ."""

from __future__ import annotations

from types import MappingProxyType

from studies.statistics import Share, share

CONTEXT = (
    "For context only: the figures in the slides of B3D's authors (Dong et al., ICCV 2021), for other victims, other"
    " data and other budgets. Nothing here reproduces them. The intervals are ours, computed from their percentages and"
    " numbers of models."
)

MODELS = MappingProxyType({"CIFAR-10": 200, "GTSRB": 172, "ImageNet": 200})
"""Number of models in each zoo of the slides: 50 clean and 150 backdoored, 43 and 129, 50 and 150."""

_RIGHT = MappingProxyType(
    {
        "Neural Cleanse": (190, 172, 192),  # 95.0, 100.0, 96.0 %
        "TABOR": (191, 172, 190),  # 95.5, 100.0, 95.0 %
        "B3D": (195, 172, 192),  # 97.5, 100.0, 96.0 %
        "B3D-SS": (195, 172, 191),  # 97.5, 100.0, 95.5 %
    }
)
"""Number of correct verdicts, by method and zoo."""


def slides_table() -> dict[str, dict[str, Share]]:
    """The detection accuracy in the slides by method and zoo, with its Wilson interval."""
    return {
        method: {zoo: share(hits, models) for (zoo, models), hits in zip(MODELS.items(), right, strict=True)}
        for method, right in _RIGHT.items()
    }
