"""One scan as a generator: check the model, search, confirm on unseen images, conclude."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np

from oracles.errors import Refused
from simkit.data import ImageSet
from simkit.errors import ConfigError
from simkit.search.confirm import Confirmer, unconfirmed
from simkit.search.contract import Search
from simkit.search.evaluator import Evaluator, NotFinite
from simkit.search.images import ScanImages, ask_labels, class_of_all, crowding, how_made, make_images
from simkit.search.recognition import at_chance, doubts, plainly_seen
from simkit.search.refine import Standing
from simkit.search.suspicion import Suspects
from simkit.triggers import IntArray
from simkit.verdict import ClassResult, Decision, Kind, Rule, SequentialTest, Stopped, Verdict, is_chance


@dataclass(frozen=True)
class DriverConfig:
    """How a search of any kind is driven."""

    check_images: int = 64
    """Clean images that check whether the model classifies them better than chance."""
    check_batch: int | None = None
    """Clean images per call of the check, which ends once three of four are named rightly; None for all at once."""
    verify_images: int = 32
    """Unseen images on which the final trigger of each class is tried; with 0 only flagged classes are tried."""
    first_look: int = 30
    """Rounds before the decision rule is applied for the first time."""
    look_every: int = 10
    """Rounds between two applications of the decision rule."""
    confirmation: SequentialTest = field(default_factory=SequentialTest)
    """The sequential test on unseen images that a flagged trigger must pass."""
    confirm_batch: int = 8
    """Unseen images per batch of the sequential test."""

    def __post_init__(self) -> None:
        batch = 1 if self.check_batch is None else self.check_batch
        counts = (self.check_images, batch, self.first_look, self.look_every, self.confirm_batch)
        if min(counts) < 1 or self.verify_images < 0:
            raise ConfigError(
                "check_images, check_batch, first_look, look_every and confirm_batch of the driver must be 1 or more, "
                "verify_images 0 or more"
            )


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The progress of a scan: queries so far, rounds of the search, and at the end the verdict."""

    queries: int
    rounds: int
    verdict: Verdict | None = None


_SHORT = "the next step needs"
"""The beginning of the note about a budget that is not spent, since the rest is too small for a step."""

Begin: TypeAlias = Callable[[ImageSet], Search]
"""Makes a new search on these images. On unlabelled images only its results, which must be blank, are read."""


class Driver:
    """Runs one search on an evaluator under a decision rule.

    limit: the query budget of the evaluator, None for no limit. after: the driver of an earlier search on the same
    images, whose check is not repeated, and whose notes these go on.

    If no images are given, they are synthesised first. Unlabelled images are queried first, all of them, and the
    model's own answers become their labels.
    """

    def __init__(
        self,
        begin: Begin,
        images: ScanImages,
        rule: Rule,
        config: DriverConfig,
        limit: int | None,
        after: Driver | None = None,
    ) -> None:
        self._begin, self._images, self._rule, self._config, self._limit = begin, images, rule, config, limit
        self._search = begin(images.search)
        self._accuracy: float | None = None if after is None else after._accuracy
        self.stopped: Stopped | None = None
        """Why the scan ended; None while it runs."""
        self._checked: bool = after is not None and after._checked
        self._notes: list[str] = [] if after is None else after._notes
        self._cut: Stopped | None = None
        self._confirmed: Confirmer | None = None
        self._doubts: dict[int, Standing] = {}
        self._noted = 0
        self._suspects = Suspects(config.confirmation, config.confirm_batch)

    @property
    def search(self) -> Search:
        """The search in its present state."""
        return self._search

    @property
    def images(self) -> ScanImages:
        """The images in their present state: with the labels that the model gave, or synthesised."""
        return self._images

    @property
    def checked(self) -> bool:
        """Whether the images are checked, so that the search is under way or at its end."""
        return self._checked

    @property
    def notes(self) -> str:
        """What the drivers of these images have noted so far."""
        return "; ".join(self._notes)

    def cut(self, stopped: Stopped) -> None:
        """End the search at its last checkpoint, for this reason."""
        self._cut = stopped

    def doubt(self, result: ClassResult, standing: Standing) -> None:
        """Hold this trigger for one that does not work, and its class to the stricter test; `run` then goes on."""
        self._doubts[result.target_class] = standing
        del self._notes[self._noted :]
        if self._confirmed is not None:
            self._confirmed.reject(result)

    def decision(self) -> Decision:
        """The decision of the rule on the present results, before any unseen image is queried."""
        return self._decide(self._search.results())

    def run(self, evaluator: Evaluator) -> Iterator[Checkpoint]:
        """A checkpoint after every ask and tell; the last one has the verdict. An exhausted budget raises no error."""
        try:
            verdict = yield from self._scan(evaluator)
        except NotFinite as error:
            verdict = self._invalid(str(error))
        yield Checkpoint(evaluator.queries, self._search.rounds, verdict)

    def _scan(self, evaluator: Evaluator) -> Generator[Checkpoint, None, Verdict]:
        stopped: Stopped = "budget"
        confirmer = self._confirmer(evaluator)
        try:
            if self._checked:
                pass  # an earlier search did the check
            elif not self._images.search.labelled:
                yield from self._ask_images(evaluator)
                confirmer = self._confirmer(evaluator)
            elif unseen := self._unseen(evaluator, self._images.search):
                return self._invalid(unseen)
            self._checked = True
            stopped = yield from self._search_on(evaluator, self._images, confirmer)
        except Refused as error:
            stopped = self._refused(error)  # not a failure: the verdict uses the evidence so far
        self.stopped = stopped
        return self._conclude(stopped, confirmer)

    def _confirmer(self, evaluator: Evaluator) -> Confirmer:
        """The confirmations so far, which begin anew when the images are made or labelled."""
        if self._confirmed is None or not self._checked:
            test, batch = self._config.confirmation, self._config.confirm_batch
            self._confirmed = Confirmer(evaluator, self._images.verify, test, batch)
        return self._confirmed

    def _ask_images(self, evaluator: Evaluator) -> Generator[Checkpoint, None, None]:
        """Query labels for the images, or synthesise images with labels; then start the search on them."""
        if self._images.synthesis is None:
            self._images = ask_labels(evaluator, self._images)
        else:
            before = evaluator.queries
            for images in make_images(evaluator, self._images, self._images.synthesis):
                self._images = images
                yield Checkpoint(evaluator.queries, 0)
            self._note(how_made(self._images, evaluator.queries - before))
        self._note(crowding(self._images))
        self._search = self._begin(self._images.search)

    def _unseen(self, evaluator: Evaluator, images: ImageSet) -> str:
        """Why the model does not see the images as they are labelled; empty where it does."""
        answered, n_classes = self._clean_answers(evaluator, images)
        labels = images.labels[: len(answered)]
        correct = int((answered == labels).sum())
        self._accuracy = correct / len(answered)
        if is_chance(correct, len(answered), n_classes):
            return at_chance(labels, answered)
        self._note(doubts(labels, answered))
        return ""

    def _clean_answers(self, evaluator: Evaluator, images: ImageSet) -> tuple[IntArray, int]:
        """The classes that the model names for the first images, -1 for none, and the number of classes."""
        most = min(self._config.check_images, len(images.labels))
        answered, batch = np.zeros(0, dtype=np.int32), self._config.check_batch or most
        while True:
            asked = np.arange(len(answered), min(len(answered) + batch, most), dtype=np.int32)
            hit = evaluator.clean(images, asked, "check").hit
            named = np.where(hit.any(axis=1), hit.argmax(axis=1), -1).astype(np.int32)
            answered = np.concatenate([answered, named])
            if len(answered) == most or plainly_seen(images.labels[: len(answered)], answered, hit.shape[1]):
                return answered, hit.shape[1]

    def _search_on(
        self, evaluator: Evaluator, images: ScanImages, confirmer: Confirmer
    ) -> Generator[Checkpoint, None, Stopped]:
        looked = 0
        while (proposal := self._search.ask()) is not None:
            if len(proposal.pairs) > (left := self._left(evaluator, images.verify.n_classes)):
                self._say_short(len(proposal.pairs), left)
                return "budget"
            self._search.tell(evaluator.evaluate(images.search, proposal, "search", self._search.state()))
            self._suspects.look(self._search, evaluator, images.verify)
            rounds = self._search.rounds
            if rounds > looked and rounds >= self._config.first_look and rounds % self._config.look_every == 0:
                looked = rounds
                if self._flagged(confirmer):
                    return "decided"
            yield Checkpoint(evaluator.queries, rounds)
            if self._cut is not None:
                return self._cut
        return "converged"

    def _left(self, evaluator: Evaluator, n_classes: int) -> float:
        """What the budget leaves for a step, without what tries every class's trigger on unseen images afterwards."""
        kept = n_classes * self._config.verify_images
        return math.inf if self._limit is None else self._limit - evaluator.queries - kept

    def _say_short(self, needed: int, left: float) -> None:
        """Note what the next step needs and what is left for it, once for all searches on these images."""
        if left > 0 and not any(note.startswith(_SHORT) for note in self._notes):
            self._note(f"{_SHORT} {needed:,} queries, and {left:,.0f} {'is' if left == 1 else 'are'} left")

    def _flagged(self, confirmer: Confirmer) -> tuple[int, ...]:
        """The classes that the rule flags and unseen images confirm."""
        results = self._results()
        return tuple(c for c in self._decide(results).flagged if confirmer.works(results[c]))

    def _results(self) -> tuple[ClassResult, ...]:
        """The results of the search, with the stricter test for large triggers of classes that are in doubt."""
        return tuple(self._tested(result) for result in self._search.results())

    def _tested(self, result: ClassResult) -> ClassResult:
        doubt = self._doubts.get(result.target_class)
        return result if doubt is None or doubt.small(result) else replace(result, test=doubt.test)

    def _decide(self, results: Sequence[ClassResult]) -> Decision:
        return self._rule(self._searched(results))

    def _searched(self, results: Sequence[ClassResult]) -> list[ClassResult]:
        """The classes that the rule decides on: all except one to which every image belongs."""
        left_out = class_of_all(self._images.search)
        return [c for c in results if c.target_class != left_out]

    def _conclude(self, stopped: Stopped, confirmer: Confirmer) -> Verdict:
        results, self._noted = self._results(), len(self._notes)
        try:
            if self._checked:  # if the budget did not even cover the check, nothing else is queried
                self._flagged(confirmer)
                for result in results:
                    confirmer.try_on(result, self._config.verify_images)
        except Refused as error:
            stopped = self._refused(error) if stopped != "refused" else stopped
        # A class that was confirmed before the budget ended stays confirmed.
        singled_out = self._decide(results).flagged
        flagged = tuple(c for c in singled_out if confirmer.trial(results[c]).works)
        for c in singled_out:
            if c not in flagged:
                self._note(unconfirmed(results[c], confirmer.trial(results[c])))
        self._note(self._suspects.note)
        classes = self._suspects.shown([self._verified(c, confirmer) for c in results])
        whole = stopped not in ("budget", "refused") and class_of_all(self._images.search) is None
        # too few unseen images to decide whether a small trigger works, or too many that it turned, clear no model
        undecided = bool(self._suspects.note) or not all(confirmer.trial(results[c]).clears for c in singled_out)
        kind: Kind = "backdoored" if flagged else "clean" if whole and not undecided else "undecided"
        score = self._rule.confirmed_score(self._searched(classes), flagged)
        return Verdict(kind, "decided" if flagged else stopped, flagged, score, classes, self._accuracy, self.notes)

    def _refused(self, error: Refused) -> Stopped:
        if error.reason == "budget":
            return "budget"
        self._note(str(error))
        return "refused"

    def _note(self, text: str) -> None:
        if text:
            self._notes.append(text)

    def _verified(self, result: ClassResult, confirmer: Confirmer) -> ClassResult:
        """The result with its success rate on unseen images. A trigger that fails there counts as not working."""
        trial = confirmer.trial(result)
        rate = trial.hits / trial.trials if trial.trials else None
        censored = result.censored or trial.works is False
        return replace(result, success_rate=rate, trials=trial.trials, censored=censored)

    def _invalid(self, why: str) -> Verdict:
        unknown = tuple(replace(c, success_rate=None) for c in self._search.results())
        return Verdict("invalid", "decided", (), None, unknown, self._accuracy, why)
