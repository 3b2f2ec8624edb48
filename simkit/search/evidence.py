"""Turns an answer into evidence about every class. Only here do scores, top-k and label-only answers differ."""

from __future__ import annotations

import numpy as np

from oracles.answers import MISSING, Answer, Labels, TopK, top_label
from simkit.search.contract import Evidence
from simkit.triggers import FloatArray, IntArray

TINY = 1e-7
"""Lower bound of a probability before the logarithm, so that one overconfident answer does not dominate a mean."""


def evidence_of(answer: Answer, image_classes: IntArray) -> Evidence:
    """The evidence about every class in the answer for N stamped images.

    image_classes: int32 (N,), the class of each image before stamping, -1 where unknown. Scores become
    log-probabilities. A class that a top-k answer omits, or whose score fell below the service's floor, gets the
    largest probability that it can have, so that -score is a lower bound of the cross-entropy. Labels become hit - 1,
    so that the mean of -score over images is one minus the success rate.
    """
    classes = np.arange(answer.n_classes, dtype=np.int32)
    hit = top_label(answer)[:, None] == classes
    if isinstance(answer, Labels):
        score = hit.astype(np.float32) - np.float32(1.0)
    else:
        score = np.log(np.maximum(_upper_bound(answer), np.float32(TINY)))
    return Evidence(score, hit, image_classes[:, None] != classes)


def _upper_bound(answer: Answer) -> FloatArray:
    """The largest probability of each class that is consistent with the answer, float32 (N, T)."""
    if isinstance(answer, TopK):
        stated = np.zeros((len(answer), answer.n_classes), dtype=np.float32)
        named = answer.classes != MISSING
        rows, columns = np.nonzero(named)
        stated[rows, answer.classes[rows, columns]] = answer.values[rows, columns]
        least = np.where(named.all(axis=1), answer.values.min(axis=1), np.float32(max(answer.floor, 0.0)))
        left_out = np.ones_like(stated, dtype=bool)
        left_out[rows, answer.classes[rows, columns]] = False
    else:
        assert not isinstance(answer, Labels)
        stated = answer.values
        least = np.full(len(stated), answer.floor, dtype=np.float32)
        left_out = (stated <= 0.0) & (answer.floor > 0.0)
    # The floor may come from rounding, and a rounded score may be larger than the true one by that much.
    certain = np.maximum(stated - np.float32(answer.floor), 0.0)
    rest = np.clip(1.0 - certain.sum(axis=1), 0.0, 1.0)
    bound = np.minimum(least, rest).astype(np.float32)
    return np.where(left_out, bound[:, None], stated)
