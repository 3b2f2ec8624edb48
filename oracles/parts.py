"""The answers to the parts of one call as one answer, also where a service names other numbers of classes in each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from oracles.answers import MISSING, Answer, IntArray, Labels, Scores, TopK, joined
from oracles.errors import ModelError
from oracles.restrict import KeepTopK


def merged(parts: Sequence[Answer]) -> Answer:
    """The answers to the images of one batch, asked one or a few at a time, as one answer.

    Parts may name different numbers of classes; shorter lists are filled with MISSING, and the floor is as low as they
    prove. Raises ModelError if some have scores and others only labels.
    """
    if any(isinstance(part, Labels) for part in parts):
        return Labels(np.concatenate([_labels(part) for part in parts]), parts[0].n_classes)
    scored = [part for part in parts if not isinstance(part, Labels)]
    if all(isinstance(part, Scores) for part in scored):
        return Scores(np.concatenate([part.values for part in scored]), max(part.floor for part in scored))
    tops = [KeepTopK.apply(part, part.n_classes) for part in scored]
    return _widened(tops, max(part.classes.shape[1] for part in tops))


def one_answer(parts: Sequence[Answer]) -> Answer:
    """The answers to the parts of one call as one: as they are where they are of one form, else `merged`.

    In whatever groups the parts are merged, the answer is the same. Raises ModelError where that is impossible.
    """
    try:
        return joined(parts)
    except ValueError:
        return merged(parts)


def _labels(part: Answer) -> IntArray:
    if not isinstance(part, Labels) and not (isinstance(part, TopK) and (part.classes == MISSING).all()):
        raise ModelError("the service answered some images with scores and others with labels only")
    return part.labels if isinstance(part, Labels) else part.classes[:, 0]


def _widened(parts: Sequence[TopK], k: int) -> TopK:
    """The parts with `k` columns each. A class beyond a full list of a narrower part has at most its last score."""
    floor, classes, values = 0.0, [], []
    for part in parts:
        pad = ((0, 0), (0, k - part.classes.shape[1]))
        full = (part.classes != MISSING).all(axis=1) & bool(pad[1][1])
        floor = max(floor, part.floor, float(part.values[full].min(axis=1).max(initial=0.0)))
        classes.append(np.pad(part.classes, pad, constant_values=MISSING))
        values.append(np.pad(part.values, pad))
    return TopK(np.concatenate(classes), np.concatenate(values), parts[0].n_classes, floor)
