"""An oracle as an attack of another library asks it: pixels are clipped, queries counted, the best picture kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from oracles.answers import MISSING, Answer, FloatArray, IntArray, Labels, Scores, top_label
from oracles.errors import BudgetExhausted, InvalidImages, Refused
from oracles.oracle import Oracle, check_shape
from oracles.partial import carried


@dataclass(frozen=True, eq=False)
class Found:
    """What an attack achieved, as far as the oracle answered it.

    images: float32 (N, C, H, W), for each start the nearest picture that the oracle answered as the attack wants; the
    start itself where there is none. distances: float32 (N,), its Euclidean distance from the start, infinite where
    there is none. queries: images answered. clipped: calls in which pixels were clipped. stopped: `ended`, or the
    reason for which the oracle refused the rest (`budget`, `rate`, ...).
    """

    images: FloatArray
    distances: FloatArray
    queries: int
    clipped: int
    stopped: str


class Asked:
    """Asks `oracle` for an attack on pictures, and keeps the best of what was answered.

    starts: float32 (N, C, H, W) in [0, 1], the pictures under attack. classes: int (N,), the class of each. targets:
    int (N,), the class that each should get; None if any other one will do. Any picture that is asked counts for every
    start, however the attack came to it, except for the starts themselves. Raises InvalidImages on starts of another
    shape, or other numbers of classes.
    """

    def __init__(self, oracle: Oracle, starts: FloatArray, classes: IntArray, targets: IntArray | None = None) -> None:
        check_shape(starts, oracle.image_shape, "float32")
        if any(len(ids) != len(starts) for ids in (classes, targets) if ids is not None):
            raise InvalidImages(f"{len(starts)} pictures to start from; give one class, and one target, for each")
        self._oracle = oracle
        self._starts, self._classes, self._targets = starts.copy(), np.asarray(classes), targets
        self._images, self._distances = starts.copy(), np.full(len(starts), np.inf, np.float32)
        self._queries = self._clipped = 0

    @property
    def oracle(self) -> Oracle:
        return self._oracle

    @property
    def queries(self) -> int:
        """Images answered so far."""
        return self._queries

    def scores(self, images: FloatArray) -> FloatArray:
        """What the oracle says of `images` (N, C, H, W) of any float type, float32 (N, classes).

        Top-k answers have 0 for the classes that they leave out, and labels are 1 for the label. A picture without any
        class counts as one of the class of its nearest start, since these libraries know no other answer. When the
        budget is too small for all images, those that it is enough for are asked before BudgetExhausted is raised.
        """
        sent = np.asarray(images, np.float32)
        clipped = np.clip(sent, 0.0, 1.0)
        self._clipped += not np.array_equal(sent, clipped)
        try:
            answer = self._query(clipped)
        except BudgetExhausted as error:
            if 0 < error.remaining < len(clipped):
                self._query(clipped[: error.remaining])
            raise
        return self._dense(answer, clipped)

    def run(self, attack: Callable[[], object]) -> Found:
        """Run `attack`, which asks through this object, until it ends or the oracle refuses."""
        stopped = "ended"
        try:
            attack()
        except Refused as error:
            stopped = error.reason
        return self.found(stopped)

    def found(self, stopped: str = "ended") -> Found:
        """What was achieved so far."""
        return Found(self._images.copy(), self._distances.copy(), self._queries, self._clipped, stopped)

    def _query(self, images: FloatArray) -> Answer:
        try:
            answer = self._oracle.query(torch.from_numpy(images))
        except BaseException as error:
            part = carried(error, self._oracle)
            if part is not None:
                self._keep(images[: len(part)], part)
            raise
        self._keep(images, answer)
        return answer

    def _keep(self, images: FloatArray, answer: Answer) -> None:
        self._queries += len(images)
        labels = top_label(answer)[:, None]
        right = labels != self._classes if self._targets is None else labels == self._targets
        apart = self._apart(images)
        changed = apart.min(axis=1, keepdims=True) > 0.0
        apart = np.where(right & (labels != MISSING) & changed, apart, np.float32(np.inf))
        best = apart.argmin(axis=0)
        for start, at in enumerate(best):
            if apart[at, start] < self._distances[start]:
                self._images[start], self._distances[start] = images[at], apart[at, start]

    def _apart(self, images: FloatArray) -> FloatArray:
        """Euclidean distances, float32 (images, starts)."""
        rows = [np.linalg.norm((images - start).reshape(len(images), -1), axis=1) for start in self._starts]
        return np.stack(rows, axis=1).astype(np.float32)

    def _dense(self, answer: Answer, images: FloatArray) -> FloatArray:
        dense = np.zeros((len(answer), answer.n_classes), np.float32)
        if isinstance(answer, Scores):
            dense[:] = answer.values
        else:
            labels = isinstance(answer, Labels)
            classes = answer.labels[:, None] if isinstance(answer, Labels) else answer.classes
            values = np.ones(classes.shape, np.float32) if labels else answer.values  # type: ignore[union-attr]
            rows, columns = np.nonzero(classes != MISSING)
            dense[rows, classes[rows, columns]] = values[rows, columns]
        nothing = np.flatnonzero(top_label(answer) == MISSING)
        if len(nothing):
            dense[nothing, self._classes[self._apart(images[nothing]).argmin(axis=1)]] = 1.0
        return dense
