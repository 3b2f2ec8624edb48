"""Suspicious pairs: a trigger that turns images of one source class into a target class, confirmed on unseen images.

Models without a backdoor may have such pairs as well, so that a confirmed pair is stated in a note and is no verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from simkit.data import ImageSet
from simkit.search.confirm import Confirmer, Trial
from simkit.search.contract import Search
from simkit.search.evaluator import Evaluator
from simkit.transforms.contract import same
from simkit.verdict import ClassResult, SequentialTest

_SHOWN = 5
"""Pairs in a note, at most."""


@dataclass(frozen=True, eq=False)
class Suspicion:
    """A trigger that turns search images of `source_class` into the class of the result."""

    source_class: int
    result: ClassResult


@runtime_checkable
class Suspecting(Protocol):
    """A search for triggers that work on images of one class only."""

    def suspicions(self) -> tuple[Suspicion, ...]:
        """The trigger of each pair of source and target class that passed the search's own test last."""
        ...


@dataclass(frozen=True, eq=False)
class _Tried:
    """A suspicion after its trial on unseen images. queries: those of the whole scan by then."""

    suspicion: Suspicion
    trial: Trial
    queries: int

    @property
    def words(self) -> str:
        """The pair and its trial as a sentence without an end."""
        target, trial = self.suspicion.result.target_class, self.trial
        turned = f"turned {trial.hits} of {trial.trials} unseen images of class {self.suspicion.source_class}"
        return f"{trial.trigger.words} {turned} into class {target}"


class Suspects:
    """Tries suspicions on unseen images of their source class, each trigger once, until the pair is confirmed."""

    def __init__(self, test: SequentialTest, batch: int) -> None:
        self._test, self._batch = test, batch
        self._tried: dict[tuple[int, int], _Tried] = {}

    def look(self, search: Search, evaluator: Evaluator, images: ImageSet) -> None:
        """Try what the search suspects now and was not tried on the unseen `images`. Raises Refused, NotFinite."""
        for suspicion in search.suspicions() if isinstance(search, Suspecting) else ():
            source, result = suspicion.source_class, suspicion.result
            last = self._tried.get((source, result.target_class))
            if last is None or not (last.trial.works or same(last.trial.trigger, result.trigger)):
                confirmer = Confirmer(evaluator, images, self._test, self._batch, source)
                confirmer.works(result)
                tried = _Tried(suspicion, confirmer.trial(result), evaluator.queries)
                self._tried[source, result.target_class] = tried

    @property
    def confirmed(self) -> tuple[_Tried, ...]:
        """The pairs whose trigger works on unseen images, in the order in which the pairs were first tried."""
        return tuple(tried for tried in self._tried.values() if tried.trial.works)

    @property
    def open(self) -> tuple[_Tried, ...]:
        """The pairs for which there were too few unseen images to decide."""
        return tuple(tried for tried in self._tried.values() if tried.trial.works is None)

    @property
    def note(self) -> str:
        """What the scan says about the pairs that are confirmed or open; empty if there is none."""
        found = [f"{tried.words}, by query {tried.queries:,}" for tried in self.confirmed]
        notes = []
        if found:
            more = f", and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            kind = "suspicious pairs" if len(found) > 1 else "suspicious pair"
            notes.append(
                f"{kind}: {', '.join(found[:_SHOWN])}{more}; natural pairs are not ruled out, so this is no verdict"
            )
        if self.open:
            which = self.open[0].words
            notes.append(f"not decided for {len(self.open)} of the pairs: {which}; raise verify_images")
        return "; ".join(notes)

    def shown(self, results: Sequence[ClassResult]) -> tuple[ClassResult, ...]:
        """The results with the trigger of a confirmed pair for its target class, which stays censored."""
        triggers = {tried.suspicion.result.target_class: tried.trial.trigger for tried in reversed(self.confirmed)}
        return tuple(
            replace(c, trigger=trigger, mask_size=trigger.mask_size, censored=True)
            if (trigger := triggers.get(c.target_class))
            else c
            for c in results
        )
