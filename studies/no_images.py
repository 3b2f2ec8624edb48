"""Scans and detectors that are given no images: all they know is the shape of those that the model takes."""

from __future__ import annotations

import torch

from oracles.oracle import ImageShape
from simkit.data import ImageSet
from simkit.errors import ConfigError
from simkit.search.images import ScanImages
from simkit.search.synthesis import SYNTHETIC, Synthesis
from studies.models import Model, stated_shape
from studies.scan_config import ScanConfig

_WITHOUT_DATA = ("", SYNTHETIC)
"""What `data` may be where there is none; the second is what a ledger calls images that were made."""


def shaped(config: ScanConfig, model: Model) -> ScanConfig:
    """The config with the shape that the model states of its images; as it is, where the model states none.

    Raises ConfigError where the model states another than the config.
    """
    stated = stated_shape(model)
    if None not in (stated, config.image_shape) and stated != config.image_shape:
        raise ConfigError(f"image_shape is {config.image_shape}, but the model takes images {stated}; leave it out")
    return config.model_copy(update={"image_shape": stated or config.image_shape})


def to_be_made(config: ScanConfig, *, given: bool) -> ScanImages:
    """Blank images in place of those that the preset will make. Raises ConfigError where there are others.

    given: whether images were handed over.
    """
    settings = config.resolved().synthesis
    assert settings is not None
    _check_none(config, f"preset {config.preset_name} makes its own images", given=given)
    counts = config.search_images, config.verify_images
    return ScanImages.to_be_made(Synthesis(settings, config.seed), _shape(config), *counts)


def no_images(config: ScanConfig, *, given: bool) -> ScanImages:
    """What stands for images in the run key of a detector that takes none. Raises ConfigError where there are any."""
    _check_none(config, "this detector takes no images", given=given)
    blank = ImageSet.unlabelled(torch.full((1, *_shape(config)), 0.5), "none")
    return ScanImages(blank, blank)


def _check_none(config: ScanConfig, why: str, *, given: bool) -> None:
    if given or config.data not in _WITHOUT_DATA or config.image_size is not None:
        raise ConfigError(f"{why}; leave out data, images and image_size")


def _shape(config: ScanConfig) -> ImageShape:
    if config.image_shape is None:
        raise ConfigError(
            "the model does not say what images it takes; set image_shape, for example image_shape=[3,32,32]"
        )
    return config.image_shape
