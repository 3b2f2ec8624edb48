"""A scan in stages: if a search ends without a detection, the next one starts with the remaining budget."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace

from oracles.errors import Refused
from simkit.data import ImageSet
from simkit.errors import ConfigError
from simkit.search import needs
from simkit.search.contract import Search, Task
from simkit.search.driver import Checkpoint, Driver
from simkit.search.evaluator import Evaluator, NotFinite
from simkit.search.images import ScanImages
from simkit.search.presets import Preset
from simkit.search.refine_stage import Refinement
from simkit.verdict import ClassResult, Decision, Rule, Stopped, Verdict


@dataclass(frozen=True)
class Course:
    """The settings of a scan's searches: the preset with its stages, their seed, and the query budget (None: no limit).

    rule: a rule that replaces the preset's in a scan of one stage; None for the preset's own.
    """

    preset: Preset
    seed: int
    limit: int | None
    rule: Rule | None = None

    @property
    def stages(self) -> tuple[Preset, ...]:
        """The preset and its later stages, in order."""
        return self.preset.stages

    def rule_of(self, stage: int) -> Rule:
        """The decision rule of a stage, numbered from 0."""
        return self.stages[stage].decision_rule() if self.rule is None else self.rule

    def lacking(self, stage: int, images: ScanImages, n_classes: int) -> needs.Lacking:
        """The classes that this stage cannot flag with these images, see `simkit.search.needs.lacking`."""
        chosen, part = self.stages[stage], images.search
        task = Task(part.image_shape, n_classes, part.labels)
        return needs.lacking(chosen.search, self.rule_of(stage), chosen.driver.confirmation, task, images.verify)

    def told(self, stage: int, lack: needs.Lacking, n_classes: int) -> str:
        """What is said of these classes of the stage, see `simkit.search.needs.told`."""
        of_sources = isinstance(self.stages[stage].search, needs.OfSources)
        return needs.told(lack, n_classes, "searched for as a source" if of_sources else "flagged")

    def check(self, images: ScanImages, n_classes: int) -> None:
        """Raise ConfigError if no stage can flag any class with these images: then no verdict would say anything.

        A search whose own settings end it too early is not refused: it costs little, and its verdict is `undecided`.
        """
        lack = [self.lacking(stage, images, n_classes) for stage in range(len(self.stages))]
        short = any(needs.ends_early(stage.search, images.search.image_shape) for stage in self.stages)
        if not short and all(len(classes) == n_classes for classes in lack):
            raise ConfigError(self.told(0, lack[0], n_classes))


class Relay:
    """Drives one stage after another on the same images, evaluator and budget.

    n_classes: returns the number of classes of the service when a search begins; some oracles only know it after their
    first answer.
    """

    def __init__(self, course: Course, images: ScanImages, n_classes: Callable[[], int]) -> None:
        self._course, self._n_classes = course, n_classes
        self._stage, self._refining = 0, False
        self._drivers: list[Driver] = []
        self._driver = self._driven(images, None)

    @property
    def search(self) -> Search:
        """The search of the current stage."""
        return self._driver.search

    @property
    def stage(self) -> int:
        """The number of the current stage, from 0, or at the end of the stage whose verdict counts."""
        return self._stage

    @property
    def refining(self) -> bool:
        """Whether the triggers of the verdict are being refined, or were at the end."""
        return self._refining

    @property
    def rule(self) -> Rule:
        """The rule of the current stage, or at the end of the stage whose verdict counts."""
        return self._course.rule_of(self._stage)

    def decision(self) -> Decision:
        """See `Driver.decision`, for the current stage."""
        return self._driver.decision()

    def run(self, evaluator: Evaluator) -> Iterator[Checkpoint]:
        """A checkpoint after every ask and tell of every stage; the last one has the verdict."""
        verdict, decided_by = (yield from self._conducted(evaluator)), self._driver
        while self._goes_on(verdict, evaluator):
            self._stage += 1
            self._driver = self._driven(decided_by.images, self._driver)
            later = yield from self._conducted(evaluator)
            if _overrules(later, verdict):
                verdict, decided_by = later, self._driver
            else:
                verdict = replace(verdict, notes=_joined(later.notes, _unfinished(later)))
            if later.stopped != "converged":
                break
        verdict = self._whole(verdict, evaluator)
        self._stage, self._driver = self._drivers.index(decided_by), decided_by
        if verdict.verdict == "backdoored":
            self._refining = True
            verdict = yield from self._refined(verdict, evaluator)
        yield Checkpoint(evaluator.queries, self.search.rounds, verdict)

    def _refined(self, verdict: Verdict, evaluator: Evaluator) -> Generator[Checkpoint, None, Verdict]:
        """The verdict with refined triggers for its flagged classes, as far as the budget allows."""
        config, classes = self._course.stages[self._stage].refine, list(verdict.classes)
        for position, result in enumerate(verdict.classes):
            if config is None or result.target_class not in verdict.flagged:
                continue
            note = ""
            try:
                refinement = Refinement(config, result, self._driver.images, self._course.seed)
                classes[position] = yield from refinement.run(evaluator, self._course.limit)
                note = _refinement(result, classes[position])
            except (Refused, NotFinite) as error:  # the verdict stands without it
                note = f"class {result.target_class} was not refined to the end: {error}"
            verdict = replace(verdict, notes=_joined(verdict.notes, note))
        return replace(verdict, classes=tuple(classes))

    def _conducted(self, evaluator: Evaluator) -> Generator[Checkpoint, None, Verdict]:
        """Run one stage and return its verdict; the checkpoint with the verdict is not yielded."""
        for checkpoint in self._driver.run(evaluator):
            if checkpoint.verdict is not None:
                return self._founded(checkpoint.verdict)
            yield checkpoint
        raise AssertionError("a driver's last checkpoint carries the verdict")

    def _founded(self, verdict: Verdict) -> Verdict:
        """The verdict, `undecided` in place of `clean` where a class could not have been flagged."""
        if verdict.verdict not in ("clean", "undecided") or verdict.stopped != "converged":
            return verdict
        lack = self._course.lacking(self._stage, self._driver.images, self._n_classes())
        said = self._course.told(self._stage, lack, self._n_classes())
        return replace(verdict, verdict="undecided", notes=_joined(verdict.notes, said)) if said else verdict

    def _goes_on(self, verdict: Verdict, evaluator: Evaluator) -> bool:
        if (
            verdict.verdict == "invalid"
            or verdict.stopped != "converged"
            or self._stage + 1 >= len(self._course.stages)
        ):
            return False
        return self._course.limit is None or self._course.limit - evaluator.queries >= self._needed(evaluator)

    def _needed(self, evaluator: Evaluator) -> int:
        """Queries that must remain before the next stage may start."""
        return self._course.stages[self._stage + 1].least_queries * evaluator.n_classes

    def _whole(self, verdict: Verdict, evaluator: Evaluator) -> Verdict:
        """The verdict, `undecided` in place of `clean` unless every stage came to its end, and why it did not."""
        if verdict.verdict not in ("clean", "undecided"):
            return verdict
        left_out, last = self._left_out(evaluator), self._drivers[-1].stopped
        stopped: Stopped | None = "budget" if left_out else last
        if stopped is None or stopped == "converged":
            return verdict
        return replace(verdict, verdict="undecided", stopped=stopped, notes=_joined(verdict.notes, left_out))

    def _left_out(self, evaluator: Evaluator) -> str:
        """The note about later stages that were not started because the budget was too small."""
        if self._drivers[-1].stopped != "converged" or self._stage + 1 >= len(self._course.stages):
            return ""
        first, count = self._stage + 2, len(self._course.stages)
        needed = evaluator.queries + self._needed(evaluator)
        if first == count:
            return f"stage {count} of {count} was not started: it needs a budget of {needed:,}"
        return f"stages {first} to {count} of {count} were not started: the next needs a budget of {needed:,}"

    def _driven(self, images: ScanImages, after: Driver | None) -> Driver:
        preset = self._course.stages[self._stage]

        def begin(part: ImageSet) -> Search:
            return preset.search.search(Task(part.image_shape, self._n_classes(), part.labels), self._course.seed)

        driver = Driver(begin, images, self.rule, preset.driver, self._course.limit, after)
        self._drivers.append(driver)
        return driver


def _overrules(later: Verdict, earlier: Verdict) -> bool:
    """Whether the verdict of a later stage replaces the earlier one: a detection always, otherwise only if it completed
    and does not turn `undecided` into `clean`."""
    if later.verdict in ("backdoored", "invalid"):
        return True
    return later.stopped == "converged" and (later.verdict, earlier.verdict) != ("clean", "undecided")


def _refinement(result: ClassResult, refined: ClassResult) -> str:
    """The note about a completed refinement."""
    if refined.trigger is result.trigger:
        return f"class {result.target_class}: refinement found nothing better"
    return f"class {result.target_class} refined from {result.mask_size:.0f} to {refined.mask_size:.0f} pixels"


def _unfinished(later: Verdict) -> str:
    if later.stopped == "converged":
        return ""
    return f"the next stage did not complete ({later.stopped})"


def _joined(*notes: str) -> str:
    return "; ".join(filter(None, notes))
