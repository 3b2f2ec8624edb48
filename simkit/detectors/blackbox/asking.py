"""What detectors without triggers share: asking with purposes, recognised images, and how such a test ends."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch

from oracles.answers import Answer, is_finite, top_label
from oracles.errors import Refused
from oracles.oracle import Tag
from simkit.data import ImageSet
from simkit.detectors.access import QueryDataAccess
from simkit.errors import DataError
from simkit.search.evaluator import NotFinite
from simkit.triggers import IntArray
from simkit.verdict import Stopped, Verdict, is_chance

_CHECKED = 64
"""Clean images asked about at a time."""


class Asker:
    """Asks an oracle; every call is a step where somebody keeps steps, and its state a checksum of the images.

    So nobody goes on with stored answers to other images, which other code or hardware may make of the same ones.
    """

    def __init__(self, access: QueryDataAccess) -> None:
        self.images, self.n_classes = access.images, access.oracle.n_classes
        self._access = access
        self._steps = self.queries = 0

    def labels(self, pixels: torch.Tensor, rows: IntArray, purpose: str) -> IntArray:
        """The best class of each image, int32 (N,), -1 for none, whatever else is told; else as `answer`."""
        return top_label(self.answer(pixels, rows, purpose))

    def answer(self, pixels: torch.Tensor, rows: IntArray, purpose: str) -> Answer:
        """All that the service tells of the images. rows: int32 (N, 2), image and candidate.

        Raises Refused, NotFinite.
        """
        steps = self._access.steps
        state = {"digest": zlib.crc32(pixels.numpy().tobytes())}
        step = None if steps is None else steps.open_step(self._steps, purpose, json.dumps(state))
        self._steps += 1  # a refused step keeps its number
        answer = self._access.oracle.query(pixels, None if step is None else Tag(step, rows))
        self.queries += len(pixels)
        if not is_finite(answer):
            raise NotFinite("the model answered NaN or infinity; is it trained, and its input scaled?")
        return answer

    def affords(self, queries: int) -> bool:
        """Whether the limit, if anybody told one, leaves so many queries."""
        return self._access.limit is None or self.queries + queries <= self._access.limit


@dataclass(frozen=True, eq=False)
class Recognised:
    """Images that the model gives the class that they have. indices: of each class, in order, those asked about.

    asked, correct: how many images were asked about, and were right. Without labels every answer is right.
    """

    indices: tuple[IntArray, ...]
    asked: int
    correct: int

    @property
    def classes(self) -> tuple[int, ...]:
        """Those with an image, in order."""
        return tuple(c for c, known in enumerate(self.indices) if len(known))


Judge: TypeAlias = Callable[[Asker, Recognised], Verdict]
"""A test of a model that recognises its images; it may raise Refused and NotFinite, and leaves the accuracy to us."""


def recognised(asker: Asker, per_class: int) -> Recognised:
    """Asks about the images in their order until every class has `per_class` that are right, or there are no more.

    Raises DataError on a label that is no class of the model, before any query; Refused, NotFinite.
    """
    check_labels(asker)
    images, told = asker.images, np.empty(0, np.int32)
    while len(told) < len(images):
        some = np.arange(len(told), min(len(told) + _CHECKED, len(images)), dtype=np.int32)
        rows = np.column_stack([some, np.full_like(some, -1)])
        told = np.concatenate([told, asker.labels(images.pixels[torch.from_numpy(some)], rows, "check")])
        found = sorted_by_class(told, images, asker.n_classes)
        if min(map(len, found.indices)) >= per_class or unseen(found, images, asker.n_classes):
            break
    return found


def check_labels(asker: Asker) -> None:
    """Raise DataError if an image has a label that is no class of the model."""
    images = asker.images
    if images.labels.max() >= asker.n_classes:
        raise DataError(f"{images.name}: label {images.labels.max()}, but the model has {asker.n_classes} classes")


def sorted_by_class(told: IntArray, images: ImageSet, n_classes: int) -> Recognised:
    """The first images, of which the model `told` the classes, int32 (N,), -1 where it named none."""
    known = images.labels[: len(told)]
    right = (told >= 0) & ((told == known) | (known < 0))
    indices = tuple(np.flatnonzero(right & (told == c)).astype(np.int32) for c in range(n_classes))
    return Recognised(indices, len(told), int(right.sum()))


def unseen(found: Recognised, images: ImageSet, n_classes: int) -> bool:
    """Whether the model does not know the images: it may be guessing, or without labels, it names no class at all."""
    return is_chance(found.correct, found.asked, n_classes) if images.labelled else found.correct == 0


def concluded(access: QueryDataAccess, per_class: int, judge: Judge) -> Verdict:
    """What `judge` says once the model is known to see the images; `invalid` if it does not, or answers NaN.

    per_class: recognised images that it wants of each class. Refused is `undecided`, with nothing known.
    """
    asker, accuracy = Asker(access), None
    try:
        found = recognised(asker, per_class)
        accuracy = found.correct / found.asked if access.images.labelled else None
        if unseen(found, access.images, asker.n_classes):
            return at_chance(accuracy)
        told = judge(asker, found)
    except (NotFinite, Refused) as error:
        return broken_off(error, accuracy)
    return replace(told, clean_accuracy=accuracy)


def at_chance(accuracy: float | None) -> Verdict:
    """The verdict on a model that does not know the images."""
    why = "clean accuracy is at chance; check the input range and the normalisation"
    return Verdict("invalid", "decided", (), None, (), accuracy, why)


def broken_off(error: NotFinite | Refused, accuracy: float | None) -> Verdict:
    """The verdict of a test that `error` ended: `invalid` of NaN, else `undecided`, with nothing known."""
    if isinstance(error, NotFinite):
        return Verdict("invalid", "decided", (), None, (), accuracy, str(error))
    stopped: Stopped = "budget" if error.reason == "budget" else "refused"
    return Verdict("undecided", stopped, (), None, (), accuracy, str(error))


def too_dear(queries: int) -> Verdict:
    """The verdict of a test that is of no use half done, where the limit does not pay all of it."""
    return Verdict(
        "undecided", "budget", (), None, (), None, f"the test needs {queries:,} queries more; raise the budget"
    )
