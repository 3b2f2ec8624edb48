"""Whether a model sees the clean images as they are labelled, or in another order of classes or another input scale."""

from __future__ import annotations

import numpy as np

from simkit.triggers import IntArray

LOW = 0.5
"""Accuracy below which a scan says that the model may be given the images wrongly (ours)."""

_FEW = 3
"""Images of a class from which its answers say anything (ours)."""

PREPROCESSING = "the input range: --mean and --std, --input-dtype, --input-layout"
"""What to check where a model sees the images otherwise than it should."""

AT_CHANCE = f"clean accuracy is at chance; check {PREPROCESSING}"

_ADVICE = f"check the order of the classes (simkit data show), and {PREPROCESSING}"


def low_accuracy(accuracy: float) -> str:
    """The note about an accuracy above chance that is low all the same; empty otherwise."""
    if accuracy >= LOW:
        return ""
    return f"clean accuracy is {accuracy:.0%}, above chance and far below what a trained model reaches: {_ADVICE}"


def doubts(labels: IntArray, answered: IntArray) -> str:
    """The note about the check of clean images; empty where it raises no doubt.

    labels, answered: classes, int32 (N,), -1 for an answer that names none. Doubtful is a low accuracy, and two classes
    or more of which every image is taken for one other class: that is how a permuted order of classes looks.
    """
    moved = {}
    for label in np.unique(labels):
        given = answered[labels == label]
        if len(given) >= _FEW and given[0] not in (-1, label) and (given == given[0]).all():
            moved[int(label)] = int(given[0])
    accuracy = float((labels == answered).mean())
    if len(moved) < 2:
        return low_accuracy(accuracy)
    pairs = ", ".join(f"{label} for {other}" for label, other in list(moved.items())[:3])
    said = f"every image of {len(moved)} classes is taken for another class ({pairs})"
    return f"clean accuracy is {accuracy:.0%}, and {said}: {_ADVICE}"
