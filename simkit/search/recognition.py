"""Whether a model sees the clean images as they are labelled, or in another order of classes or another input scale."""

from __future__ import annotations

import numpy as np

from simkit.triggers import IntArray
from simkit.verdict import is_chance

LOW = 0.5
"""Accuracy below which a scan says that the model may be given the images wrongly (ours)."""

_FEW = 3
"""Images of a class from which its answers say anything (ours)."""

_MOST = 0.8
"""Share of a class's images that must be taken for another one to count (ours)."""

_MANY = 10
"""Images of two classes from which the two count together, where they are taken for each other (ours)."""

_EXPLAINED = 0.5
"""Share of all images that a shift of the classes must explain, to be named (ours)."""

_SEVERAL = 4
"""Classes of the images from which it says something that nearly all are answered as one (ours)."""

_NEARLY_ALL = 0.8
"""Share of all answers from which one class has nearly all of them (ours)."""

PREPROCESSING = "the input range: --mean and --std, --input-dtype, --input-layout"
"""What to check where a model sees the images otherwise than it should."""

_PLAIN = 0.75
"""Share of images named rightly from which no more are needed to say that a model sees them (ours)."""

_BYTES = "a model of pixels 0..255 takes --mean 0 --std 0.00392156863, each once per channel"

_ADVICE = f"check the order of the classes (simkit data show), and {PREPROCESSING} ({_BYTES})"

AT_CHANCE = f"clean accuracy is at chance; {_ADVICE}"


def low_accuracy(accuracy: float) -> str:
    """The note about an accuracy above chance that is low all the same; empty otherwise."""
    if accuracy >= LOW:
        return ""
    return f"clean accuracy is {accuracy:.0%}, above chance and far below what a trained model reaches: {_ADVICE}"


def plainly_seen(labels: IntArray, answered: IntArray, n_classes: int) -> bool:
    """Whether these answers show already that the model sees the images as they are labelled.

    labels, answered: as in `doubts`.
    """
    correct = int((answered == labels).sum())
    plain = correct >= _PLAIN * len(labels) and not is_chance(correct, len(labels), n_classes)
    return plain and not doubts(labels, answered)


def at_chance(labels: IntArray, answered: IntArray) -> str:
    """What is said of a model whose accuracy is at chance, with the order of classes that its answers have, if any.

    labels, answered: as in `doubts`.
    """
    if order := _other_order(labels, answered):
        return f"clean accuracy is at chance, and {order}: {_ADVICE}"
    named = (labels >= 0) & (answered >= 0)
    if one := _one_class(labels[named], answered[named]):
        return f"clean accuracy is at chance, and {one}; {_ADVICE}"
    if named.sum() >= _MANY and not (labels == answered)[named].any():
        return f"clean accuracy is 0%: the scores may be reversed, such as a loss in place of a score; {_ADVICE}"
    return AT_CHANCE


def _one_class(labels: IntArray, answered: IntArray) -> str:
    """Whether images of several classes are nearly all answered as one: noise of a service fires some backdoors."""
    if len(answered) < _MANY or len(np.unique(labels)) < _SEVERAL:
        return ""
    classes, counts = np.unique(answered, return_counts=True)
    images = int(counts.max())
    if images < _NEARLY_ALL * len(answered):
        return ""
    return (
        f"{images} of {len(answered)} clean images are answered as class {int(classes[counts.argmax()])}: the input "
        "range may be wrong, or noise that the service adds may work as the trigger of a backdoor"
    )


def doubts(labels: IntArray, answered: IntArray) -> str:
    """The note about the check of clean images; empty where it raises no doubt.

    labels, answered: classes, int32 (N,), -1 for an answer that names none and for an image without label. Doubtful is
    a low accuracy, and an order of classes other than that of the labels.
    """
    known = labels >= 0
    accuracy = float((labels == answered)[known].mean()) if known.any() else 1.0
    order = _other_order(labels, answered)
    return f"clean accuracy is {accuracy:.0%}, and {order}: {_ADVICE}" if order else low_accuracy(accuracy)


def _other_order(labels: IntArray, answered: IntArray) -> str:
    """The order of classes that explains the answers better than that of the labels; empty where none does."""
    named = (labels >= 0) & (answered >= 0)
    return _shifted(labels[named], answered[named]) or _exchanged(labels[named], answered[named])


def _shifted(labels: IntArray, answered: IntArray) -> str:
    """Whether the answers are the labels plus one number: this shows even where each class has a single image."""
    if not len(labels):
        return ""
    shifts, counts = np.unique(answered - labels, return_counts=True)
    shift, share = int(shifts[counts.argmax()]), float(counts.max() / len(labels))
    classes = len(np.unique(labels[answered - labels == shift]))
    if shift == 0 or share < _EXPLAINED or classes <= _FEW:
        return ""
    return f"{share:.0%} of the answers are the label {'plus' if shift > 0 else 'minus'} {abs(shift)}"


def _exchanged(labels: IntArray, answered: IntArray) -> str:
    """Whether two classes or more are each taken for a class of their own, by most of their images."""
    given: dict[int, tuple[int, int, int]] = {}  # by class: the class it is taken for, of how many images, of all
    for label in np.unique(labels):
        classes, counts = np.unique(answered[labels == label], return_counts=True)
        given[int(label)] = int(classes[counts.argmax()]), int(counts.max()), int(counts.sum())
    moved: dict[int, int] = {}
    for label, (other, images, there) in given.items():
        back = given.get(other, (-1, 0, 0))
        if back[0] == label and there + back[2] >= _MANY and 2 * min(images / there, back[1] / back[2]) > 1:
            images, there = images + back[1], there + back[2]
        if other != label and there >= _FEW and images >= _MOST * there:
            moved[label] = other
    taken = list(moved.values())
    moved = {label: other for label, other in moved.items() if taken.count(other) == 1}  # else no order, but a bias
    if len(moved) < 2:
        return ""
    pairs = ", ".join(f"{label} for {other}" for label, other in list(moved.items())[:3])
    more = f" and {len(moved) - 3} more" if len(moved) > 3 else ""
    return f"most images of {len(moved)} classes are taken for another class ({pairs}{more})"
