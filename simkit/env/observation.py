"""The observations of the environment: the progress of every arm as arrays of fixed shape, without the truth."""

from __future__ import annotations

import math
from enum import IntEnum
from typing import Any, TypedDict, cast

import numpy as np
from gymnasium import spaces

from simkit.env.arms import Field, Pulled
from simkit.triggers import FloatArray

GAIN_RANGE = 9.0
"""Range of the race's margins in nats, which bounds the absolute value of a gain."""


LOSS_RANGE = 20.0
"""Upper bound of a loss in nats, see `simkit.search.evidence.TINY`."""


class OfClass(IntEnum):
    """The columns of a class arm, each in [0, 1] except two in [-1, 1].

    SPENT: share of the episode's budget. SIZE, SUCCESS, WORKS: of its best trigger, as in `Field`. SHRINKING, in [-1,
    1]: decrease of the expected mask size in the last chunk, as a share of the image. TURNED: success rate on unseen
    images of the last trigger tried there. FOUND: unseen images confirmed a trigger. OVER: the arm has ended. GAIN, in
    [-1, 1]: gain of the class in the shared search, see `Race.gains`, divided by `GAIN_RANGE`. NAMED: the best pair of
    the shared search is of this class. LOSS: loss of the last step, divided by `LOSS_RANGE`; 1 before the first.
    """

    SPENT = 0
    SIZE = 1
    SUCCESS = 2
    WORKS = 3
    SHRINKING = 4
    TURNED = 5
    FOUND = 6
    OVER = 7
    GAIN = 8
    NAMED = 9
    LOSS = 10


class OfShared(IntEnum):
    """The columns of the shared arm, like those of a class arm; GAIN is the largest over all classes."""

    SPENT = 0
    SIZE = 1
    SUCCESS = 2
    WORKS = 3
    TURNED = 4
    FOUND = 5
    OVER = 6
    GAIN = 7


class OfEpisode(IntEnum):
    """LEFT: remaining share of the budget. ACCURACY: clean accuracy in the first check. BUDGET: log10(budget) / 10."""

    LEFT = 0
    ACCURACY = 1
    BUDGET = 2


class Observation(TypedDict):
    """float32 arrays: classes (T, len(OfClass)), shared (len(OfShared),), episode (len(OfEpisode),)."""

    classes: FloatArray
    shared: FloatArray
    episode: FloatArray


def space(n_classes: int) -> spaces.Space[Observation]:
    """The space of observations of victims with `n_classes` classes."""
    low, high = np.zeros((n_classes, len(OfClass)), np.float32), np.ones((n_classes, len(OfClass)), np.float32)
    low[:, [OfClass.SHRINKING, OfClass.GAIN]] = -1.0
    shared = np.zeros(len(OfShared), np.float32)
    shared[OfShared.GAIN] = -1.0
    made: spaces.Space[Any] = spaces.Dict(
        {
            "classes": spaces.Box(low, high),
            "shared": spaces.Box(shared, np.ones_like(shared)),
            "episode": spaces.Box(0.0, 1.0, (len(OfEpisode),)),
        }
    )
    return cast(spaces.Space[Observation], made)


class Sight:
    """Builds the observation chunk by chunk."""

    def __init__(self, n_classes: int, budget: int, clean_accuracy: float) -> None:
        self._n_classes, self._budget = n_classes, budget
        self._classes = np.zeros((n_classes, len(OfClass)), np.float32)
        self._classes[:, [OfClass.SIZE, OfClass.LOSS]] = 1.0
        self._shared = np.zeros(len(OfShared), np.float32)
        self._shared[OfShared.SIZE] = 1.0
        self._episode = np.array([1.0, clean_accuracy, min(math.log10(budget) / 10.0, 1.0)], np.float32)
        self._expected: dict[int, float] = {}

    def now(self, left: int) -> Observation:
        """A copy of the present observation. left: remaining queries."""
        self._episode[OfEpisode.LEFT] = max(left, 0) / self._budget
        return {"classes": self._classes.copy(), "shared": self._shared.copy(), "episode": self._episode.copy()}

    def update(self, arm: int, pulled: Pulled) -> None:
        """Add the progress of an arm."""
        if arm == self._n_classes:
            self._update_shared(pulled)
        else:
            self._update_class(arm, pulled)

    def _update_class(self, arm: int, pulled: Pulled) -> None:
        row, seen = pulled.row, self._classes[arm]
        shrunk = self._expected.get(arm, row[Field.EXPECTED]) - row[Field.EXPECTED]
        self._expected[arm] = row[Field.EXPECTED]
        seen[OfClass.SPENT] = min(row[Field.QUERIES] / self._budget, 1.0)
        seen[OfClass.SIZE : OfClass.WORKS + 1] = row[Field.SIZE : Field.WORKS + 1]
        seen[OfClass.LOSS] = min(row[Field.LOSS] / LOSS_RANGE, 1.0)
        seen[OfClass.SHRINKING] = min(max(shrunk, -1.0), 1.0)
        seen[OfClass.TURNED] = row[Field.HITS] / max(row[Field.TRIALS], 1.0)
        seen[OfClass.FOUND], seen[OfClass.OVER] = row[Field.FOUND], row[Field.OVER]

    def _update_shared(self, pulled: Pulled) -> None:
        row, seen, gains = pulled.row, self._shared, pulled.gains
        assert gains is not None
        scaled = np.clip(np.where(np.isfinite(gains), gains, 0.0) / GAIN_RANGE, -1.0, 1.0)
        seen[OfShared.SPENT] = min(row[Field.QUERIES] / self._budget, 1.0)
        seen[OfShared.SIZE : OfShared.WORKS + 1] = row[Field.SIZE : Field.WORKS + 1]
        seen[OfShared.TURNED] = row[Field.HITS] / max(row[Field.TRIALS], 1.0)
        seen[OfShared.FOUND], seen[OfShared.OVER] = row[Field.FOUND], row[Field.OVER]
        seen[OfShared.GAIN] = scaled.max()
        self._classes[:, OfClass.GAIN] = scaled
        self._classes[:, OfClass.NAMED] = np.arange(self._n_classes) == int(row[Field.NAMED])
