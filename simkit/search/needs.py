"""What a search and its decision need to be able to flag a class: images, rounds, and a rule that a mask can satisfy.

Where that is missing, `clean` would say nothing: no trigger, however well it works, could have been flagged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np

from simkit.data import ImageSet
from simkit.search.contract import SearchConfig, Task
from simkit.search.pair_trial import ranking_and_testing
from simkit.triggers import IntArray, Trigger
from simkit.verdict import RULES, ClassResult, Rule, SequentialTest

Lacking = Mapping[int, str]
"""The classes that cannot be flagged, each with what is missing as part of a sentence; the others are left out."""

_PLENTY = 100_000
"""More images than any of the settings asks for."""


@runtime_checkable
class Demanding(Protocol):
    """Settings of a search that cannot report a working trigger under all circumstances."""

    def lacking(self, task: Task) -> Lacking:
        """The classes for which not even a trigger that works on every image would be reported as working."""
        ...


@runtime_checkable
class Coarse(Protocol):
    """Settings of a search whose masks cannot be as small as one pixel."""

    def smallest_mask(self, image_shape: tuple[int, int, int]) -> int:
        """Number of pixels of the smallest mask on images (C, H, W)."""
        ...


@runtime_checkable
class OfSources(Protocol):
    """Settings of a search for triggers that work on images of one class, of which it needs `least_images`."""

    @property
    def least_images(self) -> int:
        """Search images of a class that it needs to look for triggers that work on this class."""
        ...


def others(image_classes: IntArray, n_classes: int) -> IntArray:
    """The number of images that do not belong to each class, int32 (T,); an unknown class (-1) belongs to none."""
    counts: IntArray = (image_classes[:, None] != np.arange(n_classes)).sum(axis=0).astype(np.int32)
    return counts


def ranked_and_tested(task: Task, test_share: float) -> tuple[IntArray, IntArray]:
    """For each class the images of others that a race ranks with, and those that it keeps for its test, (T,) each.

    test_share: share of the search images that is kept.
    """
    ranking, testing = ranking_and_testing(len(task.image_classes), test_share)
    return others(task.image_classes[ranking], task.n_classes), others(task.image_classes[testing], task.n_classes)


def short_of(there: IntArray, needed: IntArray | int, kind: str) -> dict[int, str]:
    """The classes with fewer than `needed` images of other classes. there, needed: (T,). kind: `search`, `verify`."""
    setting = f"{kind}_images"
    least = np.broadcast_to(needed, there.shape)
    return {
        int(c): f"{least[c]} {setting} of other classes, of which class {c} has {there[c]}; raise {setting}"
        for c in np.flatnonzero(there < least)
    }


def sources_short(search: OfSources, test: SequentialTest, task: Task, verify: ImageSet) -> dict[int, str]:
    """The source classes with too few images of their own to search or to pass the test.

    While no image has a class, all images count for every class.
    """
    tried = least_trials(test)
    searched, unseen = (_members(labels, task.n_classes) for labels in (task.image_classes, verify.labels))
    images = len(task.image_classes), len(verify)

    def enough(c: int) -> int:
        """Images of all classes that have a third more of this one than needed, by its share in those there are."""
        there = ((search.least_images, searched[c], images[0]), (tried, unseen[c], images[1]))
        return max(math.ceil(4 * least * (total / n if n else task.n_classes) / 3) for least, n, total in there)

    short = np.flatnonzero((searched < search.least_images) | (unseen < tried)).tolist()
    return {
        c: f"{search.least_images} search_images and {tried} verify_images of the class itself, of which class {c} has "
        f"{searched[c]} and {unseen[c]}; raise both to {enough(c):,} or so"
        for c in short
    }


def _members(image_classes: IntArray, n_classes: int) -> IntArray:
    known = image_classes[image_classes >= 0]
    counts = np.bincount(known, minlength=n_classes) if len(known) else np.full(n_classes, len(image_classes))
    return counts.astype(np.int32)


def all_lack(n_classes: int, what: str) -> dict[int, str]:
    """The same for every class."""
    return dict.fromkeys(range(n_classes), what)


def least_trials(test: SequentialTest) -> int:
    """The least number of images on which a trigger that always works passes the sequential test."""
    ratio = test.log_ratio(1, 1)
    trials = max(1, math.floor(math.log((1 - test.beta) / test.alpha) / ratio) - 1)
    while not test.decide(trials, trials):
        trials += 1
    return trials


def lacking(search: SearchConfig, rule: Rule, test: SequentialTest, task: Task, verify: ImageSet) -> Lacking:
    """The classes that this search, rule and test on the `verify` images cannot flag, whatever the model answers.

    A search that does not say what it needs, and a rule of the user's own, are taken to be able to flag every class.
    """
    n_classes = task.n_classes
    smallest = search.smallest_mask(task.image_shape) if isinstance(search, Coarse) else 1
    if never_flags(rule, n_classes, task.image_shape, smallest):
        what = "a mask" if smallest == 1 else f"a mask of {smallest:,} pixels"
        return all_lack(n_classes, f"a rule that can flag {what} on {n_classes} classes; change rule.threshold")
    unseen = others(verify.labels, n_classes)
    found = search.lacking(task) if isinstance(search, Demanding) else {}
    if isinstance(search, OfSources):
        return {**sources_short(search, test, task, verify), **found}
    return {**short_of(unseen, least_trials(test), "verify"), **found}


def ends_early(search: SearchConfig, image_shape: tuple[int, int, int]) -> bool:
    """Whether the search ends before it could report a trigger, however many images it has."""
    plenty = Task(image_shape, 2, np.full(_PLENTY, -1, np.int32))
    return isinstance(search, Demanding) and bool(search.lacking(plenty))


def told(lack: Lacking, n_classes: int, what: str = "flagged") -> str:
    """The note or message about classes that cannot be flagged, or what else they cannot be; empty if there is none."""
    if not lack:
        return ""
    first = min(lack)
    which = "no class" if len(lack) == n_classes else f"{len(lack)} of {n_classes} classes, such as {first},"
    return f"{which} can{'' if len(lack) == n_classes else 'not'} be {what}: that needs {lack[first]}"


def never_flags(rule: Rule, n_classes: int, image_shape: tuple[int, int, int], smallest: int = 1) -> bool:
    """Whether a rule of ours flags not even a mask of `smallest` pixels where all other classes need the largest."""
    if rule.decide not in [known.decide for known in RULES.values()]:
        return False
    _, height, width = image_shape
    blank = Trigger(np.zeros((1, height, width), np.float32), np.zeros(image_shape, np.float32))
    sizes = [float(smallest), *[float(height * width)] * (n_classes - 1)]
    return not rule([ClassResult(c, blank, size, 1.0, censored=False) for c, size in enumerate(sizes)]).flagged
