"""The images of a scan: chosen from a data set or from what is handed over, or blank where a preset makes its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from oracles.oracle import ImageShape
from simkit.data import ImageSet, load, unlabelled
from simkit.errors import ConfigError, DataError
from simkit.search.images import ScanImages, class_of_all
from simkit.search.needs import told
from simkit.search.synthesis import SYNTHETIC, Synthesis
from simkit.seeding import stream
from studies.scan.config import ScanConfig

if TYPE_CHECKING:
    import torch

Images: TypeAlias = "ImageSet | torch.Tensor | NDArray[Any]"


def choose_images(config: ScanConfig, images: Images | None) -> ScanImages:
    """Disjoint search and verification images of the test split, drawn by the seed; blank where they are to be made.

    Raises DataError, ConfigError.
    """
    if config.resolved().synthesis is not None:
        return to_be_made(config, given=images is not None)
    wanted = config.search_images + config.verify_images
    if config.image_shape is not None:
        raise ConfigError(f"image_shape is for presets that make images, {config.preset_name} does not; leave it out")
    if images is None:
        if not config.data:
            raise ConfigError(
                "no images to scan with; give data, for example data='digits', or images, or choose preset b3d-ss, "
                "which needs none"
            )
        images = load(config.data, "test", wanted, config.seed, config.image_size)
    elif config.data or config.image_size:
        raise ConfigError("images are given, and data or image_size too; give either images or data")
    elif not isinstance(images, ImageSet):
        return choose_images(config, unlabelled(images))
    else:
        images = images.take(stream(config.seed, "scan", "images").permutation(len(images))[:wanted])
    if len(images) < wanted:
        raise DataError(_too_few(images, config))
    numbers = np.arange(wanted)
    chosen = ScanImages(images.take(numbers[: config.search_images]), images.take(numbers[config.search_images :]))
    _check_labels(images, chosen.search)
    return chosen


def _too_few(images: ImageSet, config: ScanConfig) -> str:
    """What to set instead, in the same proportion where a class can still be flagged with so few images."""
    wanted, there = config.search_images + config.verify_images, len(images)
    said = f"{images.name}: {there} images, but search_images + verify_images is {wanted}"
    if there < 2:
        return f"{said}; give two images or more"
    search, verify = (max(1, n * there // wanted) for n in (config.search_images, config.verify_images))
    splits = sorted(((there - n, n) for n in range(1, there)), key=lambda split: abs(split[1] - verify))
    lack = ""
    for first, rest in ((min(search, there - 1), verify), *splits):
        if not (lack := _lack(images, config, first, rest)):
            return f"{said}; --set search_images={first} --set verify_images={rest} fits"
    return f"{said}, and with fewer {lack.partition(';')[0]}; give more images"


def _lack(images: ImageSet, config: ScanConfig, search: int, verify: int) -> str:
    """Why some stage could not flag some class with this split of the images; empty if every class could be."""
    split = ScanImages(images.take(np.arange(search)), images.take(np.arange(search, search + verify)))
    course, n_classes = config.course(), images.n_classes or config.n_classes or 2
    stages = (course.lacking(stage, split, n_classes) for stage in range(len(course.stages)))
    return next((said for lack in stages if (said := told(lack, n_classes))), "")


def _check_labels(images: ImageSet, searched: ImageSet) -> None:
    unknown = int((images.labels < 0).sum())
    if 0 < unknown < len(images):
        raise DataError(f"{images.name}: {unknown} of {len(images)} images have no label; give all of them, or none")
    if (owner := class_of_all(searched)) is not None:
        raise DataError(f"{images.name}: every search image is of class {owner}; give images of two classes or more")


_WITHOUT_DATA = ("", SYNTHETIC)
"""What `data` may be where there is none; the second is what a ledger calls images that were made."""


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
    blank = ImageSet.unlabelled(np.full((1, *_shape(config)), 0.5, np.float32), "none")
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
