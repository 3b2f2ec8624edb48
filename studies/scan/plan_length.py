"""Says before the first query that a budget is smaller than the plan of a scan, and which preset it pays for."""

from __future__ import annotations

from simkit.search.costs import check_price, full_length
from simkit.search.images import ScanImages
from simkit.search.presets import PRESETS, Preset
from studies.scan.config import ScanConfig

_OFFERED = ("b3d", "race-wide", "auto", "race", "race-warps", "race-families", "race-pictures")
"""The presets that a message may name, the one with the longest plan first."""


class BudgetBelowPlan(UserWarning):
    """The budget does not pay for every search of the preset to its end."""


def planned(preset: Preset, n_classes: int, config: ScanConfig, images: ScanImages | None = None) -> int | None:
    """The queries that every search of a preset takes to its end, with the first check of the images.

    images: as chosen for the scan; None for labelled ones. None for a search of the user's own without a known end.
    """
    length = full_length(preset if images is None else preset.on(images.search.image_shape), n_classes)
    if length is None:
        return None
    if images is not None:
        return length + check_price(images, preset.driver)
    if preset.synthesis is not None:
        return length + preset.synthesis.most_queries(config.search_images + config.verify_images)
    return length + min(preset.driver.check_images, config.search_images)


def below_plan(config: ScanConfig, n_classes: int, images: ScanImages | None = None) -> str:
    """The warning that the budget is smaller than the plan, in one line; empty where it is not. images: see `planned`.

    It names the longest preset that the budget pays for on the same images and answers, or says that there is none.
    """
    needed = planned(config.resolved(), n_classes, config, images)
    if config.budget is None or needed is None or config.budget >= needed:
        return ""
    return (
        f"a budget of {config.budget:,} queries is less than the {needed:,} that {config.preset_name} takes on a model "
        f"of {n_classes} classes where it flags nothing: unless a search ends early by itself, a clean model ends "
        f"undecided; {_fitting(config, n_classes, images)}"
    )


def _fitting(config: ScanConfig, n_classes: int, images: ScanImages | None) -> str:
    for name in () if config.resolved().synthesis is not None else _OFFERED:
        preset = PRESETS[name].for_answers(labels_only=config.oracle.label_only)
        if images is not None and not preset.takes(images.search.image_shape):
            continue
        length = planned(preset, n_classes, config, images)
        if length is not None and length <= (config.budget or 0):
            return f"preset {name} fits, with {length:,}"
    return "no preset fits"
