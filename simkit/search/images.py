"""The images of a scan: their classes where only the model can tell them, and themselves where none are given."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from simkit.data import ImageSet, ImageShape
from simkit.errors import DataError
from simkit.search.evaluator import Evaluator
from simkit.search.synthesis import Synthesis
from simkit.triggers import IntArray

CROWDED = 0.9
"""Share of the unlabelled images in one class from which a scan says so (our choice)."""


@dataclass(frozen=True, eq=False)
class ScanImages:
    """Disjoint images of one test split: `search` for the search and the first check, `verify` to try triggers on.

    synthesis: how they are made, where none are given; until then `search` and `verify` are blank.
    """

    search: ImageSet
    verify: ImageSet
    synthesis: Synthesis | None = None

    @cached_property
    def sha256(self) -> str:
        """A hash of all images, in hexadecimal, and of which is used for what; taken once."""
        return hashlib.sha256(f"{self.search.sha256()} {self.verify.sha256()}".encode()).hexdigest()

    @classmethod
    def to_be_made(cls, synthesis: Synthesis, image_shape: ImageShape, search: int, verify: int) -> ScanImages:
        """So many blank images for each use, and how they are made."""
        return cls(synthesis.blank(search, image_shape), synthesis.blank(verify, image_shape), synthesis)


def halves(images: ImageSet) -> ScanImages:
    """The first half to search on, the rest to try triggers on. Raises DataError on fewer than two images."""
    if len(images) < 2:
        raise DataError(f"{images.name}: one image; a search needs two or more, to try triggers on others than its own")
    first, rest = np.split(np.arange(len(images)), [len(images) // 2])
    return ScanImages(images.take(first), images.take(rest))


def ask_labels(evaluator: Evaluator, images: ScanImages) -> ScanImages:
    """The images with the model's own answers as their labels, paid for in one call with the purpose `check`.

    In the ledger the verification images are counted on from the search images. An image for which the service names no
    class stays unknown, -1. Raises Refused, NotFinite.
    """
    search, verify = images.search, images.verify
    pixels = np.concatenate([search.array, verify.array])
    both = ImageSet.unlabelled(pixels, search.name, search.classes)
    hit = evaluator.clean(both, np.arange(len(both), dtype=np.int32), "check").hit
    labels: IntArray = np.where(hit.any(axis=1), hit.argmax(axis=1), -1).astype(np.int32)
    told, n_classes = np.split(labels, [len(search)]), hit.shape[1]
    return ScanImages(search.with_labels(told[0], n_classes), verify.with_labels(told[1], n_classes))


def make_images(evaluator: Evaluator, images: ScanImages, synthesis: Synthesis) -> Iterator[ScanImages]:
    """The images as they stand after every call: blank, and at last as they were made. Raises Refused, NotFinite."""
    searched, shape = len(images.search), images.search.image_shape
    for made in synthesis.made(evaluator, searched + len(images.verify), shape):
        if made is None:
            yield images
        else:
            first, rest = np.split(np.arange(len(made)), [searched])
            yield ScanImages(made.take(first), made.take(rest), synthesis)


def how_made(images: ScanImages, queries: int) -> str:
    """What is to be said of images that were made by asking."""
    labels = np.concatenate([images.search.labels, images.verify.labels])
    classes = len(np.unique(labels[labels >= 0]))
    return (
        f"{len(labels)} images of {classes} of {images.search.n_classes} classes were made with {queries:,} queries; "
        "nothing is known of the accuracy on real ones"
    )


def class_of_all(images: ImageSet) -> int | None:
    """The class to which every image belongs, if there is one: it cannot be searched, nothing turns into itself."""
    first = int(images.labels[0])
    return first if first >= 0 and bool((images.labels == first).all()) else None


def crowding(images: ScanImages) -> str:
    """What is to be said where the model gives (almost) all images one class; empty where it does not."""
    labels = np.concatenate([images.search.labels, images.verify.labels])
    known = labels[labels >= 0]
    if len(known) == 0:
        return f"the service names no class for any of the {len(labels)} images; check its thresholds, --mean and --std"
    largest = int(np.bincount(known).argmax())
    count = int((labels == largest).sum())
    if count < CROWDED * len(labels):
        return ""
    kind = "unlabelled" if images.synthesis is None else "made"
    found = f"the model gives class {largest} to {count} of the {len(labels)} {kind} images"
    left_out = ", so that this class was not searched" if class_of_all(images.search) == largest else ""
    if images.synthesis is not None:
        return f"{found}{left_out}; raise synthesis.draws, give images, or check --mean and --std"
    return f"{found}{left_out}; give images of more classes, or check the input range, --mean and --std"
