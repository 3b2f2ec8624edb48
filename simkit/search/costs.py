"""How many queries a preset takes where it detects nothing, from its settings alone: the length of its searches."""

from __future__ import annotations

from simkit.search.contract import Bounded
from simkit.search.driver import DriverConfig
from simkit.search.images import ScanImages
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


def check_price(images: ScanImages, driver: DriverConfig) -> int:
    """Queries of the first check: a few labelled images, or all images where the model labels or makes them."""
    searched = len(images.search)
    if images.synthesis is not None:
        return images.synthesis.config.most_queries(searched + len(images.verify))
    return min(driver.check_images, searched) if images.search.labelled else searched + len(images.verify)
