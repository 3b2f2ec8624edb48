"""Does a trigger work on images the search never used? The only user of the verification images."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from simkit.data import ImageSet
from simkit.search.contract import Proposal
from simkit.search.evaluator import Evaluator
from simkit.triggers import IntArray, Trigger, Triggers
from simkit.verdict import ClassResult, SequentialTest


@dataclass(frozen=True, eq=False)
class Trial:
    """What unseen images said of one trigger: hits of trials, and the test's word, None while it has none."""

    trigger: Trigger
    hits: int = 0
    trials: int = 0
    works: bool | None = None


def unconfirmed(result: ClassResult, trial: Trial) -> str:
    """What is to be said of a class that the rule flags and unseen images do not confirm."""
    found = f"class {result.target_class}: a trigger of {result.mask_size:.0f} pixels"
    if not trial.trials:
        return f"{found} was not tried on unseen images"
    turned = f"{found} turned {100 * trial.hits / trial.trials:.0f} % of {trial.trials} unseen images"
    return f"{turned}, " + ("too few to confirm it" if trial.works is False else "which does not decide it")


class Confirmer:
    """Tries triggers on the verification images and remembers what it was told; one class, one trigger at a time."""

    def __init__(self, evaluator: Evaluator, images: ImageSet, test: SequentialTest, batch: int) -> None:
        self._evaluator, self._images, self._test, self._batch = evaluator, images, test, batch
        self._trials: dict[int, Trial] = {}

    def trial(self, result: ClassResult) -> Trial:
        """What is known of this very trigger so far."""
        known = self._trials.get(result.target_class)
        return known if known is not None and _same(known.trigger, result.trigger) else Trial(result.trigger)

    def works(self, result: ClassResult) -> bool:
        """The sequential test on unseen images; a trigger that does not pass before they end does not work."""
        trial, unseen = self.trial(result), self._unseen(result.target_class)
        while trial.works is None and trial.trials < len(unseen):
            trial = self._extend(result.target_class, trial, unseen[trial.trials :][: self._batch])
        return bool(trial.works)

    def try_on(self, result: ClassResult, images: int) -> None:
        """Ask until `images` unseen images were tried, or all there are of other classes; an empty mask needs none."""
        trial, unseen = self.trial(result), self._unseen(result.target_class)
        missing = unseen[trial.trials : images]
        if len(missing) and result.mask_size > 0:
            self._extend(result.target_class, trial, missing)

    def _extend(self, target: int, trial: Trial, indices: IntArray) -> Trial:
        pairs = np.column_stack([np.zeros_like(indices), indices])
        evidence = self._evaluator.evaluate(self._images, Proposal(Triggers.of([trial.trigger]), pairs), "verify")
        hits, trials = trial.hits + int(evidence.hit[:, target].sum()), trial.trials + len(indices)
        works = self._test.decide(hits, trials) if trial.works is None else trial.works
        self._trials[target] = replace(trial, hits=hits, trials=trials, works=works)
        return self._trials[target]

    def _unseen(self, target: int) -> IntArray:
        return np.flatnonzero(self._images.labels != target).astype(np.int32)


def _same(one: Trigger, other: Trigger) -> bool:
    """By value: searches hand out copies."""
    return np.array_equal(one.mask, other.mask) and np.array_equal(one.pattern, other.pattern)
