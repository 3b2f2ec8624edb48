"""K-Arm's pre-screen: does one class stand near the top of almost every clean image, whatever its own class is?

After what K-Arm's released code, PurduePAML/K-ARM_Backdoor_Optimization, does first, as read there; its numbers are the
defaults. There it only decides for which classes a trigger is sought, by gradients, with the weights; a model without
such a class is called benign, any other by the size of its trigger. Here nothing is sought: a suspected class is
flagged without a trigger, so that what the published method would have cleared afterwards stays an alarm; and a
backdoor that clean images do not show is missed, as it would be there: on the zoo `cifar10-tune` no target class came
near. Also different: images of the class itself do not count for it, and the test of single source classes is told in
the notes alone, since classes that look alike pass it in a clean model too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from oracles.answers import Answer, Labels, Scores, TopK
from oracles.errors import Refused
from simkit.detectors.access import QueryDataAccess
from simkit.detectors.blackbox.asking import (
    Asker,
    at_chance,
    broken_off,
    check_labels,
    sorted_by_class,
    too_dear,
    unseen,
)
from simkit.detectors.blackbox.class_shares import among_best, class_shares, pair_shares
from simkit.errors import ConfigError
from simkit.search.contract import BoolArray
from simkit.search.evaluator import NotFinite
from simkit.triggers import FloatArray, IntArray
from simkit.verdict import Verdict

_BATCH = 256
"""Clean images asked about at a time."""

_FEW_CLASSES = 8
"""Up to so many, the best two of an image count (released code)."""


@dataclass(frozen=True)
class KArm:
    """Satisfies `Detector[QueryDataAccess]`; asks about every image once, and needs the second best class told.

    gamma: the best gamma * T of T classes count, two of T <= 8 (released code). theta: a class that stands among them
    in this share of the images of other classes is flagged (released code). pair_theta: the same of the images of one
    class, for the notes (released code).
    """

    gamma: float = 0.25
    theta: float = 0.95
    pair_theta: float = 0.9

    def __post_init__(self) -> None:
        if not all(0 < share <= 1 for share in (self.gamma, self.theta, self.pair_theta)):
            raise ConfigError(f"{self}; gamma, theta and pair_theta must lie in (0, 1]")

    def counted(self, n_classes: int) -> int:
        """How many of an image's best classes count, at least two: the best is its own."""
        return 2 if n_classes <= _FEW_CLASSES else max(2, int(self.gamma * n_classes))

    def detect(self, access: QueryDataAccess) -> Verdict:
        """See `Detector.detect`; the score is the largest share of a class. Raises DataError on labels out of range.

        `undecided` where not even the second best class is told, known from one query, and where nothing is flagged
        though fewer classes were told than count. ConfigError, before any query, if all classes would count.
        """
        asker = Asker(access)
        check_labels(asker)
        k = self.counted(asker.n_classes)
        if k >= asker.n_classes:
            raise ConfigError(
                f"the best {k} of {asker.n_classes} classes are all; it needs 3 classes, and gamma below 1"
            )
        if not asker.affords(len(asker.images)):
            return too_dear(len(asker.images))
        try:
            return self._screened(asker, k)
        except (NotFinite, Refused) as error:
            return broken_off(error, None)

    def _screened(self, asker: Asker, k: int) -> Verdict:
        first = _asked(asker, 0, 1)
        told = _told(first)
        if told < 2:
            said = "the service tells the best class alone; a pre-screen needs the second best, so give scores or top-k"
            return Verdict("undecided", "converged", (), None, (), None, said)
        starts = range(1, len(asker.images), _BATCH)
        answers = [first, *(_asked(asker, start, start + _BATCH) for start in starts)]
        verdict = self._judged(np.concatenate([score_matrix(a) for a in answers]), asker, k)
        if told < k and verdict.verdict == "clean":
            said = f"the service tells {told} classes, of which {k} count; {verdict.notes}".removesuffix("; ")
            return Verdict("undecided", "converged", (), verdict.score, (), verdict.clean_accuracy, said)
        return verdict

    def _judged(self, scores: FloatArray, asker: Asker, k: int) -> Verdict:
        images, best = asker.images, among_best(scores, k)
        answered = np.where(scores.max(axis=1) > 0.0, scores.argmax(axis=1), -1).astype(np.int32)
        found = sorted_by_class(answered, images, asker.n_classes)
        accuracy = found.correct / found.asked if images.labelled else None
        if unseen(found, images, asker.n_classes):
            return at_chance(accuracy)
        classes: IntArray = np.where(images.labels >= 0, images.labels, answered)
        shares = class_shares(best, classes)
        flagged = tuple(int(c) for c in np.flatnonzero(shares >= self.theta))
        score, notes = float(shares.max()), self._pairs(best, classes)
        if flagged:
            return Verdict("backdoored", "decided", flagged, score, (), accuracy, notes)
        return Verdict("clean", "converged", (), score, (), accuracy, notes)

    def _pairs(self, best: BoolArray, classes: IntArray) -> str:
        """The strongest pair of source and target class, where it passes its own test; else empty."""
        shares = pair_shares(best, classes)
        source, target = divmod(int(shares.argmax()), shares.shape[1])
        if shares[source, target] < self.pair_theta:
            return ""
        count = int((shares >= self.pair_theta).sum())
        strongest = f"class {target} near the top of {shares[source, target]:.0%} of the images of class {source}"
        return f"{count} pairs of source and target class would be searched, first {strongest}"


def score_matrix(answer: Answer) -> FloatArray:
    """The score of every class, float32 (N, T), 0 where the service tells none; of labels alone, 1 for the label."""
    if isinstance(answer, Labels):
        hits: FloatArray = (answer.labels[:, None] == np.arange(answer.n_classes)).astype(np.float32)
        return hits
    if isinstance(answer, Scores):
        return answer.values
    scores = np.zeros((len(answer), answer.n_classes), dtype=np.float32)
    rows, columns = np.nonzero(answer.classes >= 0)
    scores[rows, answer.classes[rows, columns]] = answer.values[rows, columns]
    return scores


def _told(answer: Answer) -> int:
    """How many classes of an image the service tells."""
    if isinstance(answer, Labels):
        return 1
    return answer.classes.shape[1] if isinstance(answer, TopK) else answer.n_classes


def _asked(asker: Asker, start: int, stop: int) -> Answer:
    some = np.arange(start, min(stop, len(asker.images)), dtype=np.int32)
    rows = np.column_stack([some, np.full_like(some, -1)])
    return asker.answer(asker.images.pixels[start:stop], rows, "check")
