"""Confirms triggers on images that the search did not use. Only this module uses the verification images."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from simkit.data import ImageSet
from simkit.search.contract import Proposal
from simkit.search.evaluator import Evaluator
from simkit.transforms.contract import Transform, Transforms, same
from simkit.triggers import IntArray
from simkit.verdict import ClassResult, SequentialTest

SUSPICIOUS = 0.8
"""A model is not called clean if a trigger turned this share of the unseen images that it was tried on, or more.

No trigger with which 94 scans of 47 clean models of the split calibrate by `auto` ended came to it; the nearest had
79 % and 77 % (docs/measured/families.md, results/families.jsonl).
"""

TOO_MANY = "too many for a clean model"
"""What the note of such a trigger says."""


@dataclass(frozen=True, eq=False)
class Trial:
    """The result of one trigger on unseen images: hits, trials, and the test's decision, None while undecided."""

    trigger: Transform
    hits: int = 0
    trials: int = 0
    works: bool | None = None
    withdrawn: bool = False
    """Whether it passed its test, and was taken back since such triggers may work by nature."""

    @property
    def clears(self) -> bool:
        """Whether the trigger does not work, and not because unseen images that it turned were nearly enough."""
        return self.works is False and self.hits < SUSPICIOUS * self.trials


def unconfirmed(result: ClassResult, trial: Trial) -> str:
    """The note about a class that the rule flags and unseen images do not confirm."""
    subject = f"class {result.target_class}: {result.trigger.words}"
    if not trial.trials:
        return f"{subject} was not tried on unseen images"
    success = f"{subject} turned {100 * trial.hits / trial.trials:.0f} % of {trial.trials} unseen images"
    if trial.works is not False:
        return f"{success}, which does not decide it"
    few = "too few for a trigger of its size, which may work by nature" if trial.withdrawn else "too few to confirm it"
    return f"{success}, {few}" + ("" if trial.clears else f" and {TOO_MANY}")


class Confirmer:
    """Tries triggers on the verification images and keeps the results, for one trigger per class at a time.

    test: of triggers whose result names none of its own. source: the class whose images alone are used; None for all
    but the target class.
    """

    def __init__(
        self, evaluator: Evaluator, images: ImageSet, test: SequentialTest, batch: int, source: int | None = None
    ) -> None:
        self._evaluator, self._images, self._test, self._batch = evaluator, images, test, batch
        self._source = source
        self._trials: dict[int, Trial] = {}

    def trial(self, result: ClassResult) -> Trial:
        """The result of exactly this trigger so far."""
        last = self._trials.get(result.target_class)
        return last if last is not None and same(last.trigger, result.trigger) else Trial(result.trigger)

    def works(self, result: ClassResult) -> bool:
        """The decision of the sequential test on unseen images; False if the images end before it passes."""
        trial, unseen = self.trial(result), self._unseen(result.target_class)
        while trial.works is None and trial.trials < len(unseen):
            trial = self._extend(result, trial, unseen[trial.trials :][: self._batch])
        return bool(trial.works)

    def reject(self, result: ClassResult) -> None:
        """Count this trigger as one that does not work, whatever it did so far."""
        self._trials[result.target_class] = replace(self.trial(result), works=False, withdrawn=True)

    def go_on(self, result: ClassResult) -> None:
        """Count the trials behind this result, on the first unseen images, as this trigger's."""
        hits, trials = round((result.success_rate or 0.0) * result.trials), result.trials
        works = (result.test or self._test).decide(hits, trials)
        self._trials[result.target_class] = Trial(result.trigger, hits, trials, works)

    def try_on(self, result: ClassResult, images: int) -> None:
        """Try the trigger on up to `images` unseen images of other classes; an empty mask is not tried."""
        trial, unseen = self.trial(result), self._unseen(result.target_class)
        missing = unseen[trial.trials : images]
        if len(missing) and result.trigger.strength > 0:
            self._extend(result, trial, missing)

    def _extend(self, result: ClassResult, trial: Trial, indices: IntArray) -> Trial:
        target, test = result.target_class, result.test or self._test
        pairs = np.column_stack([np.zeros_like(indices), indices])
        evidence = self._evaluator.evaluate(self._images, Proposal(Transforms([trial.trigger]), pairs), "verify")
        hits, trials = trial.hits + int(evidence.hit[:, target].sum()), trial.trials + len(indices)
        works = test.decide(hits, trials) if trial.works is None else trial.works
        self._trials[target] = replace(trial, hits=hits, trials=trials, works=works)
        return self._trials[target]

    def _unseen(self, target: int) -> IntArray:
        labels = self._images.labels
        used = (labels != target) if self._source is None else (labels != target) & (labels == self._source)
        return np.flatnonzero(used).astype(np.int32)
