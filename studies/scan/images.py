"""The images of a scan: chosen from a data set or from images passed in, or blank where a preset makes its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from oracles.oracle import ImageShape
from simkit.data import ImageSet, load, unlabelled
from simkit.errors import ConfigError, DataError
from simkit.search.images import ScanImages, class_of_all
from simkit.search.synthesis import SYNTHETIC, Synthesis
from simkit.seeding import stream
from studies.scan.config import ScanConfig

if TYPE_CHECKING:
    import torch

Images: TypeAlias = "ImageSet | torch.Tensor | NDArray[Any]"


def choose_images(config: ScanConfig, images: Images | None) -> ScanImages:
    """Disjoint search and verification images of the test split, drawn with the seed; blank if the preset makes them.

    Raises DataError, ConfigError.
    """
    if config.resolved().synthesis is not None:
        return to_be_made(config, given=images is not None)
    wanted = config.search_images + config.verify_images
    if config.image_shape is not None:
        raise ConfigError(
            f"image_shape applies to presets that make images, but {config.preset_name} does not; leave it out"
        )
    if images is None:
        if not config.data:
            raise ConfigError(
                "there are no images to scan with; give data, for example data='digits', or images, or choose preset "
                "b3d-ss, which needs none"
            )
        images = load(config.data, "test", wanted, config.seed, config.image_size)
    elif config.data or config.image_size:
        raise ConfigError("both images and data or image_size are given; give either images or data")
    elif not isinstance(images, ImageSet):
        return choose_images(config, unlabelled(images))
    else:
        images = images.take(stream(config.seed, "scan", "images").permutation(len(images))[:wanted])
    if len(images) < wanted:
        raise DataError(_too_few(images, config))
    chosen = ScanImages(images.part(0, config.search_images), images.part(config.search_images, wanted))
    _check_labels(images, chosen.search)
    return chosen


def _too_few(images: ImageSet, config: ScanConfig) -> str:
    """The error for too few images, with numbers that fit, close to the same proportion, if a class can be flagged."""
    wanted, count = config.search_images + config.verify_images, len(images)
    problem = f"{images.name}: {count} images, but search_images + verify_images is {wanted}"
    if count < 2:
        return f"{problem}; give two images or more"
    search, verify = (max(1, n * count // wanted) for n in (config.search_images, config.verify_images))
    splits = sorted(((count - n, n) for n in range(1, count)), key=lambda split: abs(split[1] - verify))
    lack = ""
    for first, rest in ((min(search, count - 1), verify), *splits):
        if not (lack := _lack(images, config, first, rest)):
            return f"{problem}; use --set search_images={first} --set verify_images={rest}"
    return f"{problem}, and with fewer {lack.partition(';')[0]}; give more images"


def _lack(images: ImageSet, config: ScanConfig, search: int, verify: int) -> str:
    """The reason why some stage could not flag some class with this split of the images; empty if all could."""
    split = ScanImages(images.take(np.arange(search)), images.take(np.arange(search, search + verify)))
    course, n_classes = config.course(images.image_shape), images.n_classes or config.n_classes or 2
    stages = ((stage, course.lacking(stage, split, n_classes)) for stage in range(len(course.stages)))
    return next((sentence for stage, lack in stages if (sentence := course.told(stage, lack, n_classes))), "")


def _check_labels(images: ImageSet, searched: ImageSet) -> None:
    unknown = int((images.labels < 0).sum())
    if 0 < unknown < len(images):
        raise DataError(f"{images.name}: {unknown} of {len(images)} images have no label; give all labels, or none")
    if (owner := class_of_all(searched)) is not None:
        raise DataError(f"{images.name}: every search image is of class {owner}; give images of two classes or more")


_WITHOUT_DATA = ("", SYNTHETIC)
"""Values of `data` that mean no data; the second is the name that a ledger gives to synthetic images."""


def to_be_made(config: ScanConfig, *, given: bool) -> ScanImages:
    """Blank images in place of those that the preset will make. Raises ConfigError where there are others.

    given: whether images were passed in.
    """
    settings = config.resolved().synthesis
    assert settings is not None
    _check_none(config, f"preset {config.preset_name} makes its own images", given=given)
    counts = config.search_images, config.verify_images
    return ScanImages.to_be_made(Synthesis(settings, config.seed), _shape(config), *counts)


def no_images(config: ScanConfig, *, given: bool) -> ScanImages:
    """The blank images in the run key of a detector that takes none. Raises ConfigError where there are others."""
    _check_none(config, "this detector takes no images", given=given)
    blank = ImageSet.unlabelled(np.full((1, *_shape(config)), 0.5, np.float32), "none")
    return ScanImages(blank, blank)


def _check_none(config: ScanConfig, why: str, *, given: bool) -> None:
    if given or config.data not in _WITHOUT_DATA or config.image_size is not None:
        raise ConfigError(f"{why}; leave out data, images and image_size")


def _shape(config: ScanConfig) -> ImageShape:
    if config.image_shape is None:
        raise ConfigError(
            "the model does not state the shape of its images; set image_shape, for example image_shape=[3,32,32]"
        )
    return config.image_shape
