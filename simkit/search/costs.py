"""How many queries a preset takes where it detects nothing, from its settings alone: the length of its searches."""

from __future__ import annotations

from simkit.search.annealing import AnnealingConfig
from simkit.search.b3d import B3DConfig
from simkit.search.contract import SearchConfig
from simkit.search.presets import Preset
from simkit.search.race import RaceConfig
from simkit.search.random_patch import RandomPatchConfig


def full_length(preset: Preset, n_classes: int) -> int | None:
    """Queries of all stages of a preset that run to their end; None where a search of the user's own has no known end.

    Included are each search and the trials of every class on unseen images at its end. The first check of the images
    and the confirmation of classes that the rule flags come on top.
    """
    total = 0
    for stage in preset.stages:
        if (queries := search_length(stage.search, n_classes)) is None:
            return None
        total += queries + n_classes * stage.driver.verify_images
    return total


def search_length(config: SearchConfig, n_classes: int) -> int | None:
    """Queries of one search that runs to its end; None for a search of the user's own."""
    if isinstance(config, B3DConfig):
        samples = config.samples * (1 if config.joint else 2)
        checks = config.steps // config.check_every
        return n_classes * (config.steps * samples * config.images + checks * config.check_images)
    if isinstance(config, AnnealingConfig):
        return n_classes * config.chains * config.length * config.images
    if isinstance(config, RandomPatchConfig):
        return config.rounds * config.fresh + (config.rounds - 1) * config.retests
    return config.queries if isinstance(config, RaceConfig) else None
