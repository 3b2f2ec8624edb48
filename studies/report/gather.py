"""Gathers the records of a report from a ledger and the manifests of zoos; reads nothing else."""

from __future__ import annotations

import json
import shlex
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from db.errors import StorageError
from db.records import TriggerRow, VerdictRow
from db.survey import AskedStep, SurveyedRun, run_ids, survey
from simkit.errors import ConfigError
from simkit.verdict import Rule, on_one_scale, stored_rule
from studies.ledgers.run_words import caller_of, command_of, detector_of, oracle_in_words, settings_of
from studies.ledgers.truth import Truth, Truths, overlap
from studies.render.formats import class_label
from studies.render.order import Place, place
from studies.report.records import ClassRow, Detection, Purpose, ReportData, Reversed, RunReport
from studies.report.search_curves import MOST_LINES, POINTS, Curves, concluded, curves, plots, smallest_first
from studies.scan.price import Price
from studies.scan.probability import Probability, probability
from studies.scan.stored_triggers import image_shape_of, is_drawable, stored_trigger
from studies.statistics import Share, share


@dataclass(frozen=True)
class _Room:
    """How much of each run is shown; less where there are many runs, so that the page stays small."""

    lines: int
    points: int
    triggers: int

    @classmethod
    def of(cls, runs: int) -> _Room:
        return cls(MOST_LINES, POINTS, 6) if runs <= 8 else cls(5, 60, 2)


def gather(db: Path, runs: Sequence[int] = (), zoos: Sequence[Path] = ()) -> ReportData:
    """The records of a report on the ledger at `db`.

    runs: ids of the runs to show; empty means all. zoos: folders of zoos that hold the truth about the models, besides
    the folders of the models themselves. Raises NotALedger, StorageError where the ledger has no run yet, ConfigError
    for an unknown run, and DataError for a folder that is no zoo.
    """
    stored = run_ids(db)
    if not stored:
        raise StorageError(f"{db}: holds no run yet; scan into it first")
    if unknown := sorted(set(runs) - set(stored)):
        raise ConfigError(f"{db}: has no run {unknown[0]}; `simkit db runs {db}` lists its runs")
    shown = set(runs) or set(stored)
    truths, room = Truths(zoos), _Room.of(len(shown))
    newest_first = [_run(run, truths.of(run.info), room) for run in survey(db, shown)]
    reports = tuple(reversed(newest_first))  # as `simkit db runs` lists them
    return ReportData(db.name, _command(db, runs, zoos), reports, len(stored) - len(shown), detections(reports))


def _command(db: Path, runs: Sequence[int], zoos: Sequence[Path]) -> str:
    """The command that writes the page again, with the files as they were given."""
    run_options = [word for run in runs for word in ("--run", str(run))]
    zoo_options = [word for zoo in zoos for word in ("--zoo", str(zoo))]
    return shlex.join(["simkit", "report", str(db), *run_options, *zoo_options])


def detections(runs: Sequence[RunReport]) -> tuple[Detection, ...]:
    """One record per preset, service, data set and budget, over finished runs whose truth is known."""
    groups: dict[tuple[str, str, str, int | None], list[RunReport]] = defaultdict(list)
    for run in runs:
        if run.right is not None:
            groups[run.preset, run.oracle, run.data, run.budget].append(run)
    return tuple(_detection(key, group) for key, group in groups.items())


def _detection(key: tuple[str, str, str, int | None], runs: Sequence[RunReport]) -> Detection:
    def counted(among: str, verdict: str) -> Share:
        verdicts = [r.verdict.verdict for r in runs if r.truth and r.verdict and r.truth.truth == among]
        return share(verdicts.count(verdict), len(verdicts))

    targets = [run.found_target for run in runs if run.found_target is not None]
    return Detection(
        *key,
        runs=len(runs),
        models=len({run.model_hash for run in runs}),
        accuracy=share(sum(bool(run.right) for run in runs), len(runs)),
        true_positives=counted("backdoored", "backdoored"),
        false_positives=counted("clean", "backdoored"),
        targets=share(sum(targets), len(targets)),
        queries=statistics.median(run.spent for run in runs),
    )


def _run(run: SurveyedRun, truth: Truth | None, room: _Room) -> RunReport:
    info, verdict = run.info, run.verdict
    threshold, limit = (None, None) if verdict is None else _scale(verdict)
    rule = None if verdict is None else stored_rule(verdict.rule, limit)
    classes = tuple(_class_row(t, verdict, truth) for t in run.triggers)
    points = _curves(run, classes)
    order = [row.target_class for row in _first(classes)] or smallest_first(points)
    class_names = () if truth is None else truth.classes
    names = {c: f"class {class_label(c, class_names)}" for c in order[: room.lines]}
    command, no_command = command_of(info)
    emphasised = [row.target_class for row in classes if row.flagged or row.target]
    return RunReport(
        id=run.id,
        key=info.key,
        model=info.model,
        model_hash=info.model_hash,
        data=info.data,
        preset=detector_of(info),
        oracle=oracle_in_words(info, run.codecs),
        price=Price.stated(json.loads(info.oracle)),
        seed=info.seed,
        budget=info.budget,
        at=run.at,
        spent=run.spent,
        verdict=verdict,
        limit=_limit(rule, verdict, classes),
        rule_limit=limit,
        score_threshold=threshold,
        purposes=_purposes(run.steps),
        refused=run.refusals,
        alarms=run.alarms,
        classes=classes,
        reversed=_reversed(run.triggers, classes, truth, room.triggers),
        plots=plots(points, names, emphasised, room.points),
        settings=settings_of(info),
        environment=tuple(dict(json.loads(info.environment)).items()),
        command=command,
        no_command=no_command,
        truth=truth,
        caller=caller_of(json.loads(info.config)),
        probability=_probability(run),
    )


def _probability(run: SurveyedRun) -> Probability | None:
    if run.verdict is None or not run.triggers:
        return None
    settings, environment = json.loads(run.info.config), json.loads(run.info.environment)
    return probability(settings, environment, run.verdict.verdict, image_shape_of(run.triggers[0]))


def _curves(run: SurveyedRun, classes: Sequence[ClassRow]) -> Curves:
    points = curves(run.steps)
    working = {row.target_class: row.mask_size for row in classes if not row.censored}
    queries = max((step.first + step.queries for step in run.steps if step.purpose == "search"), default=0)
    return concluded(points, working, queries) if points["best_mask_size"] else points


def _scale(verdict: VerdictRow) -> tuple[float | None, float | None]:
    return on_one_scale(verdict.rule, verdict.threshold, verdict.rule_limit)


def _limit(rule: Rule | None, verdict: VerdictRow | None, classes: Sequence[ClassRow]) -> float | None:
    if rule is None or verdict is None or verdict.verdict == "invalid":
        return None
    return rule.size_limit([row.mask_size for row in classes])


def _class_row(trigger: TriggerRow, verdict: VerdictRow | None, truth: Truth | None) -> ClassRow:
    target = trigger.target_class
    return ClassRow(
        target_class=target,
        name=_name(target, truth),
        mask_size=trigger.mask_size,
        family=trigger.family,
        strength=trigger.mask_size if trigger.strength is None else trigger.strength,
        unit=trigger.unit,
        success=share(trigger.successes, trigger.trials),
        censored=trigger.censored,
        flagged=verdict is not None and target in verdict.flagged,
        target=truth is not None and target in truth.target_classes,
    )


def _name(target: int, truth: Truth | None) -> str:
    return truth.classes[target] if truth is not None and target < len(truth.classes) else ""


def _first(classes: Sequence[ClassRow]) -> list[ClassRow]:
    """The classes in the order to show them: flagged, the true target, then those that came closest, see `place`."""
    return sorted(classes, key=lambda row: (not row.flagged, not row.target, _place(row)))


def _place(row: ClassRow) -> Place:
    rate = row.success.rate if row.success.trials else None
    return place(flagged=row.flagged, censored=row.censored, size=row.mask_size, rate=rate)


def _reversed(
    triggers: Sequence[TriggerRow], classes: Sequence[ClassRow], truth: Truth | None, most: int
) -> tuple[Reversed, ...]:
    """The triggers of the first `most` classes; the others are dropped, since a trigger can be large.

    A trigger of a user's own family is not drawn: a ledger names no code that is run. Nor is one of a huge image.
    """
    by_class = {trigger.target_class: trigger for trigger in triggers if trigger.mask_size > 0 and is_drawable(trigger)}
    chosen = [row for row in _first(classes) if row.target_class in by_class][:most]
    shown = []
    for row in chosen:
        trigger = stored_trigger(by_class[row.target_class])
        original = truth.trigger if truth is not None and row.target else None
        shown.append(Reversed(row, trigger, original, None if original is None else overlap(original, trigger)))
    return tuple(shown)


def _purposes(steps: Sequence[AskedStep]) -> tuple[Purpose, ...]:
    """Calls and queries by purpose, in the order in which the purposes first occur."""
    sums: dict[str, tuple[int, int, int]] = {}
    for step in steps:
        calls, queries, charged = sums.get(step.purpose, (0, 0, 0))
        sums[step.purpose] = calls + step.calls, queries + step.queries, charged + step.charged
    total = sum(charged for _, _, charged in sums.values()) or 1
    return tuple(Purpose(name, *counts, counts[2] / total) for name, counts in sums.items())
