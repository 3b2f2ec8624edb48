"""Functions that detectors without triggers share: queries with a purpose, recognised images, and final verdicts."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
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
from simkit.search.recognition import at_chance, doubts
from simkit.triggers import IntArray
from simkit.verdict import Stopped, Verdict, is_chance

_CHECKED = 64
"""Number of clean images per call."""


class Asker:
    """Queries an oracle. If steps are recorded, every call is a step whose state is a checksum of the images.

    A run is therefore never resumed with stored answers to other images, which other code or hardware may compute.
    """

    def __init__(self, access: QueryDataAccess) -> None:
        self.images, self.n_classes = access.images, access.oracle.n_classes
        self._access = access
        self._steps = self.queries = 0

    def labels(self, pixels: torch.Tensor, rows: IntArray, purpose: str) -> IntArray:
        """The top class of each image, int32 (N,), -1 for none; otherwise like `answer`."""
        return top_label(self.answer(pixels, rows, purpose))

    def answer(self, pixels: torch.Tensor, rows: IntArray, purpose: str) -> Answer:
        """The answer of the service for the images. rows: int32 (N, 2), image and candidate.

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
        """Whether the limit, if there is one, leaves this number of queries."""
        return self._access.limit is None or self.queries + queries <= self._access.limit


@dataclass(frozen=True, eq=False)
class Recognised:
    """Images that the model classifies correctly. indices: these images by class, in the order of the queries.

    asked, correct: number of queried and of correctly classified images. Without labels every answer counts as correct.
    answered: the class of every queried image, int32 (asked,), -1 for none.
    """

    indices: tuple[IntArray, ...]
    asked: int
    correct: int
    answered: IntArray = field(default_factory=lambda: np.empty(0, np.int32))

    @property
    def classes(self) -> tuple[int, ...]:
        """The classes with at least one recognised image, in order."""
        return tuple(c for c, images in enumerate(self.indices) if len(images))


Judge: TypeAlias = Callable[[Asker, Recognised], Verdict]
"""A test of a model that recognises its images. It may raise Refused and NotFinite; `concluded` adds the accuracy."""


def recognised(asker: Asker, per_class: int) -> Recognised:
    """Query the images in order until every class has `per_class` recognised images, or the images end.

    Raises DataError on a label that is not a class of the model, before any query; Refused, NotFinite.
    """
    check_labels(asker)
    images, answers = asker.images, np.empty(0, np.int32)
    while len(answers) < len(images):
        some = np.arange(len(answers), min(len(answers) + _CHECKED, len(images)), dtype=np.int32)
        rows = np.column_stack([some, np.full_like(some, -1)])
        answers = np.concatenate([answers, asker.labels(images.pixels[torch.from_numpy(some)], rows, "check")])
        recognition = sorted_by_class(answers, images, asker.n_classes)
        if min(map(len, recognition.indices)) >= per_class or unseen(recognition, images, asker.n_classes):
            break
    return recognition


def check_labels(asker: Asker) -> None:
    """Raise DataError if an image has a label that is not a class of the model."""
    images = asker.images
    if images.labels.max() >= asker.n_classes:
        raise DataError(f"{images.name}: label {images.labels.max()}, but the model has {asker.n_classes} classes")


def sorted_by_class(answers: IntArray, images: ImageSet, n_classes: int) -> Recognised:
    """The recognised ones of the first N images. answers: the model's classes, int32 (N,), -1 where it named none."""
    labels = images.labels[: len(answers)]
    right = (answers >= 0) & ((answers == labels) | (labels < 0))
    indices = tuple(np.flatnonzero(right & (answers == c)).astype(np.int32) for c in range(n_classes))
    return Recognised(indices, len(answers), int(right.sum()), answers)


def unseen(recognition: Recognised, images: ImageSet, n_classes: int) -> bool:
    """Whether the model does not recognise the images: it may be guessing or, without labels, names no class at all."""
    return is_chance(recognition.correct, recognition.asked, n_classes) if images.labelled else recognition.correct == 0


def concluded(access: QueryDataAccess, per_class: int, judge: Judge) -> Verdict:
    """The verdict of `judge` if the model recognises the images; `invalid` if it does not, or answers NaN.

    per_class: recognised images that `judge` needs per class. A refusal gives `undecided` without a score.
    """
    asker, accuracy = Asker(access), None
    try:
        recognition = recognised(asker, per_class)
        accuracy = recognition.correct / recognition.asked if access.images.labelled else None
        if unseen(recognition, access.images, asker.n_classes):
            return unrecognised(recognition, access.images, accuracy)
        verdict = judge(asker, recognition)
    except (NotFinite, Refused) as error:
        return broken_off(error, accuracy)
    said = doubted(recognition, access.images)
    return replace(verdict, clean_accuracy=accuracy, notes="; ".join(filter(None, (verdict.notes, said))))


def doubted(recognition: Recognised, images: ImageSet) -> str:
    """What is doubtful about how the model sees the labelled images; empty otherwise."""
    return doubts(images.labels[: recognition.asked], recognition.answered)


def unrecognised(recognition: Recognised, images: ImageSet, accuracy: float | None) -> Verdict:
    """The verdict on a model that does not recognise the images."""
    why = at_chance(images.labels[: recognition.asked], recognition.answered)
    return Verdict("invalid", "decided", (), None, (), accuracy, why)


def broken_off(error: NotFinite | Refused, accuracy: float | None) -> Verdict:
    """The verdict of a test that `error` ended: `invalid` for NaN, otherwise `undecided`, without a score."""
    if isinstance(error, NotFinite):
        return Verdict("invalid", "decided", (), None, (), accuracy, str(error))
    stopped: Stopped = "budget" if error.reason == "budget" else "refused"
    return Verdict("undecided", stopped, (), None, (), accuracy, str(error))


def too_dear(queries: int) -> Verdict:
    """The verdict if the budget does not cover a test that is useless if incomplete."""
    return Verdict(
        "undecided", "budget", (), None, (), None, f"the test needs {queries:,} more queries; raise the budget"
    )
