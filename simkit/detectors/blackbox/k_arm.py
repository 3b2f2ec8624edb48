"""K-Arm's pre-screening: is one class near the top of almost every clean image, whatever the image's own class?

This is the first part of K-Arm's released code, PurduePAML/K-ARM_Backdoor_Optimization; its numbers are the defaults.
There the screening only selects classes for which a trigger is searched by gradients with the weights; a model without
such a class is called benign, any other is judged by the size of its trigger. Here no trigger is searched: a suspected
class is flagged without a trigger, so that classes which the published method would clear later remain false positives,
and a backdoor that clean images do not show is missed, as it would be there (on the zoo `cifar10-tune` no target class
came near). Also different: images of the class itself are not counted for it, and the test of single source classes is
only mentioned in the notes, since similar classes pass it in clean models as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from oracles.answers import Answer, Labels, Scores, TopK
from oracles.errors import Refused
from simkit.detectors.access import QueryDataAccess
from simkit.detectors.blackbox.asking import (
    Asker,
    broken_off,
    check_labels,
    doubted,
    sorted_by_class,
    too_dear,
    unrecognised,
    unseen,
)
from simkit.detectors.blackbox.class_shares import among_best, class_shares, pair_shares
from simkit.errors import ConfigError
from simkit.search.contract import BoolArray
from simkit.search.evaluator import NotFinite
from simkit.triggers import FloatArray, IntArray
from simkit.verdict import Verdict

_BATCH = 256
"""Number of clean images per call."""

_FEW_CLASSES = 8
"""Up to this number of classes, the top two of an image count (released code)."""


@dataclass(frozen=True)
class KArm:
    """Satisfies `Detector[QueryDataAccess]`; queries every image once, and needs answers with at least two classes."""

    gamma: float = 0.25
    """The top gamma * T of T classes count, two if T <= 8 (released code)."""
    theta: float = 0.95
    """A class is flagged if it is among them in this share of the images of other classes (released code)."""
    pair_theta: float = 0.9
    """The same share for the images of a single source class, only used in the notes (released code)."""

    def __post_init__(self) -> None:
        if not all(0 < share <= 1 for share in (self.gamma, self.theta, self.pair_theta)):
            raise ConfigError(f"{self}; gamma, theta and pair_theta must lie in (0, 1]")

    def counted(self, n_classes: int) -> int:
        """How many of an image's top classes count, at least two, since the first is its own class."""
        return 2 if n_classes <= _FEW_CLASSES else max(2, int(self.gamma * n_classes))

    def detect(self, access: QueryDataAccess) -> Verdict:
        """See `Detector.detect`; the score is the largest share of a class. Raises DataError on labels out of range.

        `undecided` if answers have only one class (after one query), or if nothing is flagged and answers have fewer
        classes than count. Raises ConfigError, before any query, if all classes would count.
        """
        asker = Asker(access)
        check_labels(asker)
        k = self.counted(asker.n_classes)
        if k >= asker.n_classes:
            raise ConfigError(
                f"the top {k} of {asker.n_classes} classes are all classes; give 3 classes or more, and gamma below 1"
            )
        if not asker.affords(len(asker.images)):
            return too_dear(len(asker.images))
        try:
            return self._screened(asker, k)
        except (NotFinite, Refused) as error:
            return broken_off(error, None)

    def _screened(self, asker: Asker, k: int) -> Verdict:
        first = _asked(asker, 0, 1)
        answered = _answered(first)
        if answered < 2:
            reason = "the service is label-only; pre-screening needs the second class too, so use scores or top-k"
            return Verdict("undecided", "converged", (), None, (), None, reason)
        starts = range(1, len(asker.images), _BATCH)
        answers = [first, *(_asked(asker, start, start + _BATCH) for start in starts)]
        verdict = self._judged(np.concatenate([score_matrix(a) for a in answers]), asker, k)
        if answered < k and verdict.verdict == "clean":
            reason = f"the service answers {answered} classes, but {k} are needed; {verdict.notes}".removesuffix("; ")
            return Verdict("undecided", "converged", (), verdict.score, (), verdict.clean_accuracy, reason)
        return verdict

    def _judged(self, scores: FloatArray, asker: Asker, k: int) -> Verdict:
        images, best = asker.images, among_best(scores, k)
        answered = np.where(scores.max(axis=1) > 0.0, scores.argmax(axis=1), -1).astype(np.int32)
        recognition = sorted_by_class(answered, images, asker.n_classes)
        accuracy = recognition.correct / recognition.asked if images.labelled else None
        if unseen(recognition, images, asker.n_classes):
            return unrecognised(recognition, images, accuracy)
        classes: IntArray = np.where(images.labels >= 0, images.labels, answered)
        shares = class_shares(best, classes)
        flagged = tuple(int(c) for c in np.flatnonzero(shares >= self.theta))
        score, doubt = float(shares.max()), doubted(recognition, images)
        notes = "; ".join(filter(None, (doubt, self._pairs(best, classes))))
        if flagged:
            return Verdict("backdoored", "decided", flagged, score, (), accuracy, notes)
        own = [c for c in range(asker.n_classes) if (classes == c).all()]
        if own:  # no image of another class, of which a share could be taken
            said = "; ".join(filter(None, (f"all images are of class {own[0]}, which cannot be flagged", notes)))
            return Verdict("undecided", "converged", (), score, (), accuracy, said)
        return Verdict("clean", "converged", (), score, (), accuracy, notes)

    def _pairs(self, best: BoolArray, classes: IntArray) -> str:
        """A note about the strongest pair of source and target class if it passes its own test; otherwise empty."""
        shares = pair_shares(best, classes)
        source, target = divmod(int(shares.argmax()), shares.shape[1])
        if shares[source, target] < self.pair_theta:
            return ""
        count = int((shares >= self.pair_theta).sum())
        strongest = f"class {target} near the top of {shares[source, target]:.0%} of the images of class {source}"
        return f"{count} pairs of source and target class would be searched, first {strongest}"


def score_matrix(answer: Answer) -> FloatArray:
    """The score of every class, float32 (N, T), 0 where missing; for label-only answers 1 for the label."""
    if isinstance(answer, Labels):
        hits: FloatArray = (answer.labels[:, None] == np.arange(answer.n_classes)).astype(np.float32)
        return hits
    if isinstance(answer, Scores):
        return answer.values
    scores = np.zeros((len(answer), answer.n_classes), dtype=np.float32)
    rows, columns = np.nonzero(answer.classes >= 0)
    scores[rows, answer.classes[rows, columns]] = answer.values[rows, columns]
    return scores


def _answered(answer: Answer) -> int:
    """The number of classes in the answer for one image."""
    if isinstance(answer, Labels):
        return 1
    return answer.classes.shape[1] if isinstance(answer, TopK) else answer.n_classes


def _asked(asker: Asker, start: int, stop: int) -> Answer:
    some = np.arange(start, min(stop, len(asker.images)), dtype=np.int32)
    rows = np.column_stack([some, np.full_like(some, -1)])
    return asker.answer(asker.images.pixels[start:stop], rows, "check")
