"""Functions that the attacks share: selecting images, and replacing some of them in a copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from simkit.data.images import ImageSet
from simkit.errors import ConfigError, DataError
from simkit.triggers import IntArray, Trigger, stamp

if TYPE_CHECKING:
    import torch

Rows = NDArray[np.integer]
"""Indices of images in a set."""


class Stamper(Protocol):
    """An attack that puts the same trigger on every image."""

    @property
    def target_class(self) -> int:
        """The class to which triggered images are assigned."""
        ...

    @property
    def rate(self) -> float:
        """The share of images that is poisoned."""
        ...

    def stamp_all(self, pixels: torch.Tensor) -> torch.Tensor:
        """The trigger on every image, float32 (N, C, H, W), as a copy."""
        ...


def check_target_and_rate(target_class: int, rate: float) -> None:
    """Raise ConfigError unless `target_class` is a class id and `rate` lies in (0, 1]."""
    if target_class < 0 or not 0.0 < rate <= 1.0:
        raise ConfigError(
            f"target class {target_class}, rate {rate}; need a class id of 0 or more and a rate in (0, 1]"
        )


def check_classes(images: ImageSet, *wanted: int) -> None:
    """Raise DataError unless every image has a label and all classes in `wanted` exist."""
    if not images.labelled:
        raise DataError(f"{images.name}: some images have no label; an attack needs the labels of all images")
    if max(wanted) >= images.n_classes:
        raise DataError(
            f"{images.name}: images of {images.n_classes} classes do not fit an attack on class {max(wanted)}"
        )


def check_trigger_fits(images: ImageSet, trigger: Trigger) -> None:
    """Raise DataError unless the trigger has the shape of the images."""
    if images.image_shape != trigger.pattern.shape:
        raise DataError(f"{images.name}: images {images.image_shape} do not fit a {trigger.pattern.shape} trigger")


def outsiders(images: ImageSet, target_class: int) -> Rows:
    """The rows of all images that are not of the target class. Raises DataError if there are none."""
    check_classes(images, target_class)
    rows = np.flatnonzero(images.labels != target_class)
    if len(rows) == 0:
        raise DataError(f"{images.name}: every image is of the target class {target_class}; none to attack")
    return rows


def members(images: ImageSet, *classes: int) -> Rows:
    """The rows of all images of these classes. Raises DataError if there are none."""
    check_classes(images, *classes)
    rows = np.flatnonzero(np.isin(images.labels, classes))
    if len(rows) == 0:
        named = ", ".join(map(str, classes))
        raise DataError(f"{images.name}: no image is of class {named}; none to attack")
    return rows


def pick(rows: Rows, rate: float, rng: np.random.Generator) -> IntArray:
    """A share of `rows` without repeats, int32 (n,); at least one."""
    number = max(1, round(rate * len(rows)))
    return rng.choice(rows, number, replace=False).astype(np.int32)


def replaced(images: ImageSet, rows: Rows, pixels: torch.Tensor, label: int | None = None) -> ImageSet:
    """A copy of `images` with new pixels at `rows`, float32 (n, C, H, W), and one new label there; None keeps
    labels."""
    import torch  # slow to import; manifests are read without it

    new_pixels, new_labels = images.pixels.clone(), images.labels.copy()
    new_pixels[torch.from_numpy(rows).long()] = pixels
    if label is not None:
        new_labels[rows] = label
    return ImageSet(new_pixels, new_labels, images.classes, images.name)


def relabelled(images: ImageSet, pixels: torch.Tensor, label: int) -> ImageSet:
    """`images` with new pixels, as many as before, and one label for all."""
    return ImageSet(pixels, np.full_like(images.labels, label), images.classes, images.name)


def stamped_share(images: ImageSet, rows: Rows, stamper: Stamper, rng: np.random.Generator) -> ImageSet:
    """A copy of `images` in which a share `stamper.rate` of `rows`, at least one, is stamped and relabelled."""
    chosen = pick(rows, stamper.rate, rng)
    return replaced(images, chosen, stamper.stamp_all(images.take(chosen).pixels), stamper.target_class)


def all_stamped(images: ImageSet, rows: Rows, stamper: Stamper) -> ImageSet:
    """The images at `rows`, each stamped and relabelled."""
    chosen = images.take(rows)
    return relabelled(chosen, stamper.stamp_all(chosen.pixels), stamper.target_class)


def stamp_trigger(trigger: Trigger, pixels: torch.Tensor) -> torch.Tensor:
    """The trigger on every image, float32 (N, C, H, W), as a copy."""
    import torch  # slow to import; manifests are read without it

    return stamp(pixels, torch.from_numpy(trigger.mask)[None], torch.from_numpy(trigger.pattern)[None])
