"""A scan in stages: searches in turns, or one after another, until one detects a backdoor or all are at their end."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from itertools import chain

from oracles.errors import Refused
from simkit.data import ImageSet
from simkit.errors import ConfigError
from simkit.search import needs
from simkit.search.confirm import Trial, unconfirmed
from simkit.search.contract import Search, Task
from simkit.search.driver import Checkpoint, Driver
from simkit.search.evaluator import Evaluator, NotFinite
from simkit.search.images import ScanImages
from simkit.search.lengths import narrow
from simkit.search.presets import Preset
from simkit.search.refine import Standing
from simkit.search.refine_stage import Refinement
from simkit.search.turns import plan
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

    @property
    def plan(self) -> Iterator[tuple[int, int | None]]:
        """The turns of the stages, see `simkit.search.turns.plan`."""
        return plan([stage.turns for stage in self.stages])

    def rule_of(self, stage: int) -> Rule:
        """The decision rule of a stage, numbered from 0."""
        return self.stages[stage].decision_rule() if self.rule is None else self.rule

    def lacking(self, stage: int, images: ScanImages, n_classes: int) -> needs.Lacking:
        """The classes that this stage cannot flag with these images, see `simkit.search.needs.lacking`."""
        chosen, task = self.stages[stage], _task(images.search, n_classes)
        return needs.lacking(chosen.search, self.rule_of(stage), chosen.driver.confirmation, task, images.verify)

    def told(self, stage: int, lack: needs.Lacking, n_classes: int) -> str:
        """What is said of these classes of the stage, see `simkit.search.needs.told`."""
        of_sources = isinstance(self.stages[stage].search, needs.OfSources)
        return needs.told(lack, n_classes, "searched for as a source" if of_sources else "flagged")

    def unfounded(self, stage: int, images: ScanImages, n_classes: int) -> str:
        """Why this stage may not call a model clean at its end: classes that it cannot flag, or too few candidates."""
        lack = self.told(stage, self.lacking(stage, images, n_classes), n_classes)
        return lack or narrow(self.stages[stage].search, _task(images.search, n_classes))

    def check(self, images: ScanImages, n_classes: int) -> None:
        """Raise ConfigError if no stage can flag any class with these images: then no verdict would say anything.

        A search whose own settings end it too early is not refused: it costs little, and its verdict is `undecided`.
        """
        lack = [self.lacking(stage, images, n_classes) for stage in range(len(self.stages))]
        short = any(needs.ends_early(stage.search, images.search.image_shape) for stage in self.stages)
        if not short and all(len(classes) == n_classes for classes in lack):
            raise ConfigError(self.told(0, lack[0], n_classes))


@dataclass(eq=False)
class _Leg:
    """One stage under way. spent: queries of its own, with those of the first check. verdict: None before its end."""

    stage: int
    driver: Driver
    spent: int = 0
    until: int | None = None
    verdict: Verdict | None = None
    _checkpoints: Iterator[Checkpoint] | None = None

    def doubt(self, result: ClassResult, standing: Standing) -> None:
        """Take back the detection of this class; `run` then goes on with the search."""
        self.driver.doubt(result, standing)
        self.verdict = self._checkpoints = None

    def run(self, evaluator: Evaluator, until: int | None) -> Iterator[Checkpoint]:
        """Go on until the stage has spent `until` queries, or to its end; the verdict's checkpoint is not yielded."""
        self.until = until
        self._checkpoints = self._checkpoints or self.driver.run(evaluator)
        while self.verdict is None and (until is None or self.spent < until or not self.driver.checked):
            before = evaluator.queries
            checkpoint = next(self._checkpoints)
            self.spent += evaluator.queries - before
            self.verdict = checkpoint.verdict
            if self.verdict is None:
                yield checkpoint

    @property
    def whole(self) -> bool:
        """Whether the search came to its end without a detection."""
        return self.verdict is not None and self.verdict.stopped == "converged"


class Relay:
    """Drives the stages, one after another or in turns, on the same images, evaluator and budget.

    n_classes: returns the number of classes of the service when a search begins; some oracles only know it after their
    first answer.
    """

    def __init__(self, course: Course, images: ScanImages, n_classes: Callable[[], int]) -> None:
        self._course, self._n_classes = course, n_classes
        self._refining = False
        self._turns = course.plan
        self._leg = _Leg(0, self._driven(0, images, None))
        self._legs = [self._leg]

    @property
    def search(self) -> Search:
        """The search of the current stage."""
        return self._leg.driver.search

    @property
    def stage(self) -> int:
        """The number of the current stage, from 0, or at the end of the stage whose verdict counts."""
        return self._leg.stage

    @property
    def spent(self) -> int:
        """The queries of the current stage itself so far, with those of the first check."""
        return self._leg.spent

    @property
    def until(self) -> int | None:
        """The queries of the current stage itself at which its turn ends; None where it runs to its end."""
        return self._leg.until

    @property
    def refining(self) -> bool:
        """Whether the triggers of the verdict are being refined, or were at the end."""
        return self._refining

    @property
    def rule(self) -> Rule:
        """The rule of the current stage, or at the end of the stage whose verdict counts."""
        return self._course.rule_of(self._leg.stage)

    def decision(self) -> Decision:
        """See `Driver.decision`, for the current stage."""
        return self._leg.driver.decision()

    def run(self, evaluator: Evaluator) -> Iterator[Checkpoint]:
        """A checkpoint after every ask and tell of every stage; the last one has the verdict."""
        verdict = yield from self._searched(evaluator)
        while verdict.verdict == "backdoored":
            self._refining = True
            if (refined := (yield from self._refined(verdict, evaluator))) is not None:
                verdict = refined
                break
            self._refining, self._turns = False, chain([(self._leg.stage, self._leg.until)], self._turns)
            verdict = yield from self._searched(evaluator)
        yield Checkpoint(evaluator.queries, self.search.rounds, verdict)

    def _searched(self, evaluator: Evaluator) -> Generator[Checkpoint, None, Verdict]:
        """Give every stage its turns until one detects a backdoor or cannot go on, and return the verdict of all."""
        left_out = ""
        for stage, until in self._turns:
            if stage == len(self._legs):
                if left_out := self._left_out(evaluator):
                    break
                self._legs.append(_Leg(stage, self._driven(stage, self._legs[0].driver.images, self._leg.driver)))
            self._leg = self._legs[stage]
            yield from self._leg.run(evaluator, until)
            if self._leg.verdict is not None and not self._leg.whole:
                break
        stopped: Stopped = "budget" if left_out or self._leg.verdict is None else self._leg.verdict.stopped
        if stopped in ("budget", "refused"):
            yield from self._cut(evaluator, stopped)
        return self._settled(left_out)

    def _cut(self, evaluator: Evaluator, stopped: Stopped) -> Iterator[Checkpoint]:
        """End the stages that wait for their turn, each with what it has found so far."""
        for leg in self._legs:
            leg.driver.cut(stopped)
            yield from leg.run(evaluator, None)

    def _settled(self, left_out: str) -> Verdict:
        """The verdict of all stages; the stage that gives it becomes the current one.

        A detection counts, else the last stage that came to its end. `undecided` in place of `clean` unless all did.
        """
        said = {leg: self._unfounded(leg) for leg in self._legs}
        verdicts = {leg: _founded(leg.verdict, said[leg]) for leg in self._legs if leg.verdict is not None}
        self._leg, *later = verdicts
        for leg in later:
            if _overrules(verdicts[leg], verdicts[self._leg]):
                self._leg = leg
        verdict = verdicts[self._leg]
        if verdict.verdict in ("backdoored", "invalid"):
            return verdict
        notes = _joined(self._leg.driver.notes, said[self._leg], self._unfinished(), left_out)
        ends: list[Stopped] = [found.stopped for found in verdicts.values() if found.stopped != "converged"]
        if not (left_out or ends):
            return replace(verdict, notes=notes)
        return replace(verdict, verdict="undecided", stopped="budget" if left_out else ends[0], notes=notes)

    def _refined(self, verdict: Verdict, evaluator: Evaluator) -> Generator[Checkpoint, None, Verdict | None]:
        """The verdict with refined triggers for its flagged classes, as far as the budget allows.

        None if no class stays flagged: then the detection is taken back, and its stage goes on.
        """
        config, classes = self._course.stages[self._leg.stage].refine, list(verdict.classes)
        for position, result in enumerate(verdict.classes):
            if config is None or result.target_class not in verdict.flagged:
                continue
            note = ""
            try:
                refinement = Refinement(config, result, self._leg.driver.images, self._course.seed)
                classes[position] = yield from refinement.run(evaluator, self._course.limit)
                note = _refinement(result, classes[position])
            except (Refused, NotFinite) as error:  # the verdict stands without it
                note = f"class {result.target_class} was not refined to the end: {error}"
            verdict = replace(verdict, notes=_joined(verdict.notes, note))
        asked = None if config is None else config.standing  # a rule of the user's own may flag a censored class
        flagged = [c for c in classes if c.target_class in verdict.flagged]
        if standing := tuple(c.target_class for c in flagged if asked is None or not c.censored):
            return replace(verdict, classes=tuple(classes), flagged=standing)
        for result in verdict.classes:
            if result.target_class in verdict.flagged and asked is not None:
                self._leg.doubt(result, asked)
        return None

    def _unfounded(self, leg: _Leg) -> str:
        """See `Course.unfounded`; empty for a stage that did not come to its end."""
        return self._course.unfounded(leg.stage, leg.driver.images, self._n_classes()) if leg.whole else ""

    def _left_out(self, evaluator: Evaluator) -> str:
        """The note that the next stage and those after it do not start; empty where the budget is large enough.

        A stage whose turn comes while an earlier one waits starts with whatever is left, so that none is cut for it.
        """
        stages, begun, limit = self._course.stages, len(self._legs), self._course.limit
        needed = evaluator.queries + stages[begun].least_queries * evaluator.n_classes
        if limit is None or limit >= needed or not all(leg.whole for leg in self._legs):
            return ""
        first, count = begun + 1, len(stages)
        if first == count:
            return f"stage {count} of {count} was not started: it needs a budget of {needed:,}"
        return f"stages {first} to {count} of {count} were not started: the next needs a budget of {needed:,}"

    def _unfinished(self) -> str:
        """The note about stages of several that began and did not come to their end."""
        cut = [leg for leg in self._legs if not leg.whole]
        if not cut or len(self._legs) == 1:
            return ""
        reasons = dict.fromkeys(leg.verdict.stopped for leg in cut if leg.verdict is not None)
        numbers = " and ".join(str(leg.stage + 1) for leg in cut)
        which = f"stage {numbers}" if len(cut) == 1 else f"stages {numbers}"
        return f"{which} of {len(self._course.stages)} did not complete ({', '.join(reasons)})"

    def _driven(self, stage: int, images: ScanImages, after: Driver | None) -> Driver:
        preset = self._course.stages[stage]

        def begin(part: ImageSet) -> Search:
            return preset.search.search(_task(part, self._n_classes()), self._course.seed)

        return Driver(begin, images, self._course.rule_of(stage), preset.driver, self._course.limit, after)


def _task(images: ImageSet, n_classes: int) -> Task:
    return Task(images.image_shape, n_classes, images.labels)


def _founded(verdict: Verdict, unfounded: str) -> Verdict:
    return replace(verdict, verdict="undecided") if unfounded and verdict.verdict == "clean" else verdict


def _overrules(later: Verdict, earlier: Verdict) -> bool:
    """Whether the verdict of a later stage replaces the earlier one: a detection always, otherwise only if it completed
    and does not turn `undecided` into `clean`."""
    if "backdoored" in (later.verdict, earlier.verdict) or later.verdict == "invalid":
        return earlier.verdict != "backdoored"
    if later.stopped != "converged":
        return False
    return earlier.stopped != "converged" or (later.verdict, earlier.verdict) != ("clean", "undecided")


def _refinement(result: ClassResult, refined: ClassResult) -> str:
    """The note about a completed refinement."""
    if refined.censored:
        hits = round((refined.success_rate or 0.0) * refined.trials)
        return unconfirmed(refined, Trial(refined.trigger, hits, refined.trials, works=False))
    if refined.trigger is result.trigger:
        return f"class {result.target_class}: refinement found nothing better"
    return f"class {result.target_class} refined from {result.mask_size:.0f} to {refined.mask_size:.0f} pixels"


def _joined(*notes: str) -> str:
    return "; ".join(filter(None, notes))
