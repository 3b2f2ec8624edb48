"""From an answer of the oracle to evidence about every class: the only place where scores, top-k and labels differ."""

from __future__ import annotations

import numpy as np

from oracles.answers import MISSING, Answer, Labels, TopK, top_label
from simkit.search.contract import Evidence
from simkit.triggers import FloatArray, IntArray

TINY = 1e-7
"""The least probability a score is taken for: keeps one overconfident answer from drowning the others."""


def evidence_of(answer: Answer, image_classes: IntArray) -> Evidence:
    """What the answer for N stamped images says about every class.

    image_classes: int32 (N,), the class of each image before stamping, -1 where unknown.
    Scores become log-probabilities. A class that a top-k answer leaves out, or whose score fell below the service's
    floor, gets the largest probability it can have, so that -score bounds the cross entropy from below. Labels become
    hit - 1, so that the mean of -score over images is one minus the hit rate.
    """
    classes = np.arange(answer.n_classes, dtype=np.int32)
    hit = top_label(answer)[:, None] == classes
    if isinstance(answer, Labels):
        score = hit.astype(np.float32) - np.float32(1.0)
    else:
        score = np.log(np.maximum(_upper_bound(answer), np.float32(TINY)))
    return Evidence(score, hit, image_classes[:, None] != classes)


def _upper_bound(answer: Answer) -> FloatArray:
    """The largest probability of each class that the answer admits, float32 (N, T)."""
    if isinstance(answer, TopK):
        known = np.zeros((len(answer), answer.n_classes), dtype=np.float32)
        named = answer.classes != MISSING
        rows, columns = np.nonzero(named)
        known[rows, answer.classes[rows, columns]] = answer.values[rows, columns]
        least = np.where(named.all(axis=1), answer.values.min(axis=1), np.float32(max(answer.floor, 0.0)))
        left_out = np.ones_like(known, dtype=bool)
        left_out[rows, answer.classes[rows, columns]] = False
    else:
        assert not isinstance(answer, Labels)
        known = answer.values
        least = np.full(len(known), answer.floor, dtype=np.float32)
        left_out = (known <= 0.0) & (answer.floor > 0.0)
    # A floor may come from rounding, and then a told score may lie that much above the true one.
    told = np.maximum(known - np.float32(answer.floor), 0.0)
    rest = np.clip(1.0 - told.sum(axis=1), 0.0, 1.0)
    bound = np.minimum(least, rest).astype(np.float32)
    return np.where(left_out, bound[:, None], known)
