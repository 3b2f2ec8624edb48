"""The images of a scan: labels from the model for unlabelled images, and synthesised images if none are given."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from simkit.data import ImageSet, ImageShape
from simkit.errors import DataError
from simkit.search.evaluator import Evaluator
from simkit.search.recognition import PREPROCESSING
from simkit.search.synthesis import Synthesis
from simkit.triggers import IntArray

CROWDED = 0.9
"""A scan notes it if at least this share of the unlabelled images is in one class (our choice)."""


@dataclass(frozen=True, eq=False)
class ScanImages:
    """Disjoint images of one test split: `search` for the check and the search, `verify` to confirm triggers.

    synthesis: how images are synthesised if none are given; until then `search` and `verify` are blank.
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
        """Blank images, `search` and `verify` of them, and how they are synthesised."""
        return cls(synthesis.blank(search, image_shape), synthesis.blank(verify, image_shape), synthesis)


def halves(images: ImageSet) -> ScanImages:
    """The first half for the search, the rest to confirm triggers. Raises DataError on fewer than two images."""
    if len(images) < 2:
        raise DataError(f"{images.name}: one image; a scan needs two or more, to confirm triggers on unseen images")
    first, rest = np.split(np.arange(len(images)), [len(images) // 2])
    return ScanImages(images.take(first), images.take(rest))


def ask_labels(evaluator: Evaluator, images: ScanImages) -> ScanImages:
    """The images with the model's own answers as labels, queried in one call with the purpose `check`.

    In the ledger the verification images are numbered after the search images. An image for which the service names no
    class has the label -1. Raises Refused, NotFinite.
    """
    search, verify = images.search, images.verify
    number = np.arange(len(search) + len(verify), dtype=np.int32)
    rows = np.column_stack([number, np.full_like(number, -1)])
    hit = evaluator.unlabelled(search.array, verify.array, rows=rows, purpose="check").hit
    labels: IntArray = np.where(hit.any(axis=1), hit.argmax(axis=1), -1).astype(np.int32)
    parts, n_classes = np.split(labels, [len(search)]), hit.shape[1]
    return ScanImages(search.with_labels(parts[0], n_classes), verify.with_labels(parts[1], n_classes))


def make_images(evaluator: Evaluator, images: ScanImages, synthesis: Synthesis) -> Iterator[ScanImages]:
    """The images after every call: blank, and at the end the synthesised images. Raises Refused, NotFinite."""
    searched, shape = len(images.search), images.search.image_shape
    for made in synthesis.made(evaluator, searched + len(images.verify), shape):
        if made is None:
            yield images
        else:
            first, rest = np.split(np.arange(len(made)), [searched])
            yield ScanImages(made.take(first), made.take(rest), synthesis)


def how_made(images: ScanImages, queries: int) -> str:
    """The note about synthesised images."""
    labels = np.concatenate([images.search.labels, images.verify.labels])
    classes = len(np.unique(labels[labels >= 0]))
    return (
        f"{len(labels)} images of {classes} of {images.search.n_classes} classes were synthesised with {queries:,} "
        "queries; the accuracy on real images is unknown"
    )


def class_of_all(images: ImageSet) -> int | None:
    """The class to which every image belongs, if there is one; it cannot be searched."""
    first = int(images.labels[0])
    return first if first >= 0 and bool((images.labels == first).all()) else None


def crowding(images: ScanImages) -> str:
    """The note if the model assigns (almost) all images to one class; empty otherwise."""
    labels = np.concatenate([images.search.labels, images.verify.labels])
    named = labels[labels >= 0]
    if len(named) == 0:
        return f"the service names no class for any of the {len(labels)} images; check its thresholds, --mean and --std"
    largest = int(np.bincount(named).argmax())
    count = int((labels == largest).sum())
    if count < CROWDED * len(labels):
        return ""
    kind = "unlabelled" if images.synthesis is None else "synthesised"
    finding = f"the model assigns {count} of the {len(labels)} {kind} images to class {largest}"
    left_out = ", so that this class was not searched" if class_of_all(images.search) == largest else ""
    if images.synthesis is not None:
        return f"{finding}{left_out}; raise synthesis.draws, give images, or check --mean and --std"
    return f"{finding}{left_out}; give images of more classes, or check {PREPROCESSING}"
