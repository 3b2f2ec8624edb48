"""The probability of a backdoor while none is confirmed, estimated from what as many queries found in other victims."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simkit.env.arms import Field, Row
from simkit.env.observation import Observation, OfClass, OfEpisode, OfShared
from simkit.env.recording import Recording
from simkit.errors import DataError

Costs = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Belief:
    """Fitted on recordings of a split whose truth may be used; the same for every policy, for a fair comparison.

    shared, of_class: for V backdoored victims, the queries after which the shared arm, and the arm of a target class,
    confirmed a trigger; infinite if it did not. false_alarms: share of clean victims in which any arm confirmed a
    trigger, (hits + 0.5) / (victims + 1). prior: probability of a backdoor before any query, in (0, 1).
    """

    shared: Costs
    of_class: Costs
    false_alarms: float
    prior: float = 0.5

    @classmethod
    def fitted(cls, recordings: Iterable[Recording], prior: float = 0.5) -> Belief:
        """Fit on these recordings. Raises DataError if none is backdoored, or if one is of the split `report`."""
        usable = list(recordings)
        if any(r.header.split == "report" for r in usable):
            raise DataError("recordings of split report are for figures only; fit on those of split tune or calibrate")
        backdoored = [r for r in usable if r.header.truth == "backdoored"]
        clean = [r for r in usable if r.header.truth == "clean"]
        if not backdoored:
            raise DataError("no recording of a backdoored victim to learn from; record more")
        shared = [_cost(r.arms[-1]) for r in backdoored]
        of_class = [min(_cost(r.arms[c]) for c in r.header.target_classes) for r in backdoored]
        alarms = sum(any(np.isfinite(_cost(rows)) for rows in r.arms) for r in clean)
        return cls(np.array(shared), np.array(of_class), (alarms + 0.5) / (len(clean) + 1), prior)

    def __call__(self, observation: Observation) -> float:
        """The probability that the victim is backdoored, in (0, 1)."""
        confirmed = observation["shared"][OfShared.FOUND] or observation["classes"][:, OfClass.FOUND].any()
        if confirmed:
            return self._odds(1.0, self.false_alarms)
        unfound = self.unfound(*spent(observation))
        return self._odds((unfound.sum() + 1.0) / (len(unfound) + 1.0), 1.0)  # plus one victim that is never detected

    def unfound(self, shared: float, classes: Costs) -> Costs:
        """For each of the V victims, the probability that these queries confirm nothing, for a random target class."""
        chances: Costs = (self.shared > shared) * (self.of_class[:, None] > classes).mean(axis=1)
        return chances

    def _odds(self, if_backdoored: float, if_clean: float) -> float:
        joint = self.prior * if_backdoored
        return joint / (joint + (1.0 - self.prior) * if_clean)


def spent(observation: Observation) -> tuple[float, Costs]:
    """Queries of the shared arm, and of each class (T,)."""
    budget = budget_of(observation)
    return budget * float(observation["shared"][OfShared.SPENT]), budget * observation["classes"][
        :, OfClass.SPENT
    ].astype(np.float64)


def budget_of(observation: Observation) -> float:
    """Queries of the episode."""
    return float(10.0 ** (10.0 * float(observation["episode"][OfEpisode.BUDGET])))


def _cost(rows: Row) -> float:
    """The queries after which an arm confirmed a trigger."""
    return float(rows[-1, Field.QUERIES]) if rows[-1, Field.FOUND] else float("inf")
