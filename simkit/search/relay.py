"""A scan in stages: the next search begins where the last one ended without a finding, on what budget is left."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace

from oracles.errors import Refused
from simkit.data import ImageSet
from simkit.search.contract import Search, Task
from simkit.search.driver import Checkpoint, Driver
from simkit.search.evaluator import Evaluator, NotFinite
from simkit.search.images import ScanImages
from simkit.search.presets import Preset
from simkit.search.refine_stage import Refinement
from simkit.verdict import ClassResult, Decision, Rule, Verdict


@dataclass(frozen=True)
class Course:
    """What a scan's searches are made from: the stages, the seed of all of them, and the cap on queries, None for none.

    rule: of a scan in one stage, in place of its preset's; None for that.
    """

    preset: Preset
    seed: int
    limit: int | None
    rule: Rule | None = None

    @property
    def stages(self) -> tuple[Preset, ...]:
        """The preset and what follows it, in order."""
        return self.preset.stages


class Relay:
    """Drives one stage after another on the same images, evaluator and cap.

    n_classes: of the service, asked for when a search begins; only some oracles know it before their first answer.
    """

    def __init__(self, course: Course, images: ScanImages, n_classes: Callable[[], int]) -> None:
        self._course, self._n_classes = course, n_classes
        self._stage = 0
        self._drivers: list[Driver] = []
        self._driver = self._driven(images, None)

    @property
    def search(self) -> Search:
        """The search of the stage that is under way."""
        return self._driver.search

    @property
    def rule(self) -> Rule:
        """The rule of the stage that is under way, or that had the last word."""
        own = self._course.stages[self._stage].decision_rule()
        return own if self._course.rule is None else self._course.rule

    def decision(self) -> Decision:
        """See `Driver.decision`, of the stage that is under way."""
        return self._driver.decision()

    def run(self, evaluator: Evaluator) -> Iterator[Checkpoint]:
        """A checkpoint after every ask and tell of every stage; the last one carries the verdict."""
        verdict, decided_by = (yield from self._conducted(evaluator)), self._driver
        while self._goes_on(verdict, evaluator):
            self._stage += 1
            self._driver = self._driven(decided_by.images, self._driver)
            later = yield from self._conducted(evaluator)
            if _has_the_word(later, verdict):
                verdict, decided_by = later, self._driver
            else:
                verdict = replace(verdict, notes=_joined(later.notes, _unfinished(later)))
            if later.stopped != "converged":
                break
        verdict = replace(verdict, notes=_joined(verdict.notes, self._left_out(verdict, evaluator)))
        self._stage, self._driver = self._drivers.index(decided_by), decided_by
        if verdict.verdict == "backdoored":
            verdict = yield from self._refined(verdict, evaluator)
        yield Checkpoint(evaluator.queries, self.search.rounds, verdict)

    def _refined(self, verdict: Verdict, evaluator: Evaluator) -> Generator[Checkpoint, None, Verdict]:
        """The verdict with better triggers for its classes, as far as the budget goes; nothing else of it changes."""
        config, classes = self._course.stages[self._stage].refine, list(verdict.classes)
        for position, found in enumerate(verdict.classes):
            if config is None or found.target_class not in verdict.flagged:
                continue
            note = ""
            try:
                refinement = Refinement(config, found, self._driver.images, self._course.seed)
                classes[position] = yield from refinement.run(evaluator, self._course.limit)
                note = _refinement(found, classes[position])
            except (Refused, NotFinite) as error:  # the verdict stands without it
                note = f"class {found.target_class} was not refined to the end: {error}"
            verdict = replace(verdict, notes=_joined(verdict.notes, note))
        return replace(verdict, classes=tuple(classes))

    def _conducted(self, evaluator: Evaluator) -> Generator[Checkpoint, None, Verdict]:
        """One stage; its last checkpoint, which has its verdict, is kept back."""
        for checkpoint in self._driver.run(evaluator):
            if checkpoint.verdict is not None:
                return checkpoint.verdict
            yield checkpoint
        raise AssertionError("a driver's last checkpoint carries the verdict")

    def _goes_on(self, verdict: Verdict, evaluator: Evaluator) -> bool:
        if (
            verdict.verdict == "invalid"
            or verdict.stopped != "converged"
            or self._stage + 1 >= len(self._course.stages)
        ):
            return False
        return self._course.limit is None or self._course.limit - evaluator.queries >= self._needed(evaluator)

    def _needed(self, evaluator: Evaluator) -> int:
        """Queries that must be left for the next stage to begin."""
        return self._course.stages[self._stage + 1].least_queries * evaluator.n_classes

    def _left_out(self, verdict: Verdict, evaluator: Evaluator) -> str:
        """What is to be said where the budget did not pay for a stage after one that came to its end."""
        ended = verdict.verdict in ("clean", "undecided") and self._drivers[-1].stopped == "converged"
        if not ended or self._stage + 1 >= len(self._course.stages) or self._course.limit is None:
            return ""
        count, needed = len(self._course.stages), evaluator.queries + self._needed(evaluator)
        return f"stages {self._stage + 2} to {count} of {count} were not begun: the next needs a budget of {needed:,}"

    def _driven(self, images: ScanImages, after: Driver | None) -> Driver:
        preset = self._course.stages[self._stage]

        def begin(part: ImageSet) -> Search:
            return preset.search.search(Task(part.image_shape, self._n_classes(), part.labels), self._course.seed)

        driver = Driver(begin, images, self.rule, preset.driver, self._course.limit, after)
        self._drivers.append(driver)
        return driver


def _has_the_word(later: Verdict, earlier: Verdict) -> bool:
    """Whether a later stage is believed: a finding always, else only one that came to its end and leaves nothing open
    that an earlier one did."""
    if later.verdict in ("backdoored", "invalid"):
        return True
    return later.stopped == "converged" and (later.verdict, earlier.verdict) != ("clean", "undecided")


def _refinement(found: ClassResult, refined: ClassResult) -> str:
    """What is to be said of a refinement that ended."""
    if refined.trigger is found.trigger:
        return f"class {found.target_class}: refinement found nothing better"
    return f"class {found.target_class} refined from {found.mask_size:.0f} to {refined.mask_size:.0f} pixels"


def _unfinished(later: Verdict) -> str:
    if later.stopped == "converged":
        return ""
    return f"the stage after it did not come to its end ({later.stopped})"


def _joined(*notes: str) -> str:
    return "; ".join(filter(None, notes))
