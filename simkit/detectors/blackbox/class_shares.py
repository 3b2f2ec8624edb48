"""How often a class stands among the best of images that are not its own: a first look, for N queries."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simkit.search.contract import BoolArray
from simkit.triggers import FloatArray, IntArray


def among_best(scores: FloatArray, k: int) -> BoolArray:
    """Whether a class is one of the k best of an image, bool (N, T).

    scores: float32 (N, T), probabilities or anything that grows with them. Who shares the last place with others is not
    among the best: that is how a service leaves it where scores are rounded or cut.
    """
    if k >= scores.shape[1]:
        return np.ones_like(scores, dtype=np.bool_)
    best: BoolArray = scores > np.partition(scores, -k - 1, axis=1)[:, -k - 1, None]  # the first that is left out
    return best


def class_shares(best: BoolArray, image_classes: IntArray) -> NDArray[np.float64]:
    """Of the images of other classes, the share that has each class among its best, float64 (T,); 0 of no images.

    best: bool (N, T), see `among_best`. image_classes: int32 (N,), -1 where unknown: then it counts for every class.
    """
    others = image_classes[:, None] != np.arange(best.shape[1])
    shares: NDArray[np.float64] = (best & others).sum(axis=0) / np.maximum(others.sum(axis=0), 1)
    return shares


def pair_shares(best: BoolArray, image_classes: IntArray) -> NDArray[np.float64]:
    """Of the images of class s, the share that has class t among its best, float64 (T, T), rows s; 0 where s is t.

    Arguments as of `class_shares`; images of unknown class count for none. Classes without images have shares of 0.
    """
    n_classes = best.shape[1]
    members = image_classes[None, :] == np.arange(n_classes)[:, None]
    counts = members.astype(np.float64) @ best / np.maximum(members.sum(axis=1), 1)[:, None]
    shares: NDArray[np.float64] = np.where(np.eye(n_classes, dtype=bool), 0.0, counts)
    return shares
