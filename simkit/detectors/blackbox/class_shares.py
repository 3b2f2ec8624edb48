"""How often a class is among the top k of images of other classes: a first screening with one query per image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simkit.search.contract import BoolArray
from simkit.triggers import FloatArray, IntArray


def among_best(scores: FloatArray, k: int) -> BoolArray:
    """Whether a class is one of the top k of an image, bool (N, T).

    scores: float32 (N, T), probabilities or anything that grows with them. Classes that tie for the last place are not
    counted, since rounded or thresholded scores leave their order open.
    """
    if k >= scores.shape[1]:
        return np.ones_like(scores, dtype=np.bool_)
    best: BoolArray = scores > np.partition(scores, -k - 1, axis=1)[:, -k - 1, None]  # the best class outside the top k
    return best


def class_shares(best: BoolArray, image_classes: IntArray) -> NDArray[np.float64]:
    """The share of images of other classes that have each class in their top k, float64 (T,); 0 without images.

    best: bool (N, T), see `among_best`. image_classes: int32 (N,), -1 where unknown; such images count for every class.
    """
    others = image_classes[:, None] != np.arange(best.shape[1])
    shares: NDArray[np.float64] = (best & others).sum(axis=0) / np.maximum(others.sum(axis=0), 1)
    return shares


def pair_shares(best: BoolArray, image_classes: IntArray) -> NDArray[np.float64]:
    """The share of images of class s (rows) that have class t in their top k, float64 (T, T); 0 where s equals t.

    Arguments as for `class_shares`; images of unknown class are ignored. Classes without images have shares of 0.
    """
    n_classes = best.shape[1]
    members = image_classes[None, :] == np.arange(n_classes)[:, None]
    counts = members.astype(np.float64) @ best / np.maximum(members.sum(axis=1), 1)[:, None]
    shares: NDArray[np.float64] = np.where(np.eye(n_classes, dtype=bool), 0.0, counts)
    return shares
