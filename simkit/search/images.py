"""The images that a scan uses, and their classes where only the model can tell them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from simkit.data import ImageSet
from simkit.errors import DataError
from simkit.search.evaluator import Evaluator
from simkit.triggers import IntArray

CROWDED = 0.9
"""Share of the unlabelled images in one class from which a scan says so (our choice)."""


@dataclass(frozen=True, eq=False)
class ScanImages:
    """Disjoint images of one test split: `search` for the search and the first check, `verify` to try triggers on."""

    search: ImageSet
    verify: ImageSet


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
    pixels = torch.cat([search.pixels, verify.pixels])
    both = ImageSet.unlabelled(pixels, search.name, search.classes)
    hit = evaluator.clean(both, np.arange(len(both), dtype=np.int32), "check").hit
    labels: IntArray = np.where(hit.any(axis=1), hit.argmax(axis=1), -1).astype(np.int32)
    told, n_classes = np.split(labels, [len(search)]), hit.shape[1]
    return ScanImages(search.with_labels(told[0], n_classes), verify.with_labels(told[1], n_classes))


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
    found = f"the model gives class {largest} to {count} of the {len(labels)} unlabelled images"
    left_out = ", so that this class was not searched" if class_of_all(images.search) == largest else ""
    return f"{found}{left_out}; give images of more classes, or check the input range, --mean and --std"
