"""How many queries a preset takes where it detects nothing, from its settings alone: the length of its searches."""

from __future__ import annotations

from simkit.search.contract import Bounded
from simkit.search.presets import Preset


def full_length(preset: Preset, n_classes: int) -> int | None:
    """Queries of all stages of a preset that run to their end; None where a search of the user's own has no known end.

    Included are each search and the trials of every class on unseen images at its end. The first check of the images
    and the confirmation of classes that the rule flags come on top.
    """
    total = 0
    for stage in preset.stages:
        if not isinstance(stage.search, Bounded):
            return None
        total += stage.search.full_length(n_classes) + n_classes * stage.driver.verify_images
    return total
