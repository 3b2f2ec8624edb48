"""The objective of a trial: scans every victim with its settings, and measures AUROC of the scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

from optuna import Trial, TrialPruned

from db.ledger import Ledger
from simkit.files import write_atomically
from simkit.progress import OnProgress, unheard
from simkit.zoo.manifest import Victim
from studies.statistics import ranking
from studies.study.result_line import ResultLine
from studies.tune.space import suggested
from studies.tune.task import Task
from studies.tune.trial_scans import PreparedVictims, TrialScans

FALSE_ALARMS = "false_alarms"
"""The constraint: FPR minus the allowed FPR, feasible at 0 and below.

Only finished scans of a pruned trial can be false positives; it is infeasible where these alone are too many.
"""


class ScanObjective:
    """Runs trials of a task in this process. Satisfies `Objective`.

    A trial's ledger is `trial-0007.db`, and its result lines are `trial-0007.jsonl`. At each checkpoint all scans have
    sent that many queries or have a verdict; then the AUROC of their scores is reported, and the pruner decides. The
    oracle enforces each scan's budget. Attributes are set once, at the end, since Optuna would keep earlier values of
    an interrupted trial.
    """

    def __init__(self, task: Task, progress: OnProgress = unheard) -> None:
        self._task, self._progress, self._lineup = task, progress, PreparedVictims()

    def __call__(self, trial: Trial, /) -> Sequence[float]:
        task, stem = self._task, self._task.stem(trial.number)
        values = suggested(trial, task.config.space)
        with Ledger.open(task.folder / f"{stem}.db") as ledger:
            scans = TrialScans(task, values, self._lineup, ledger)
            pruned = any(self._pruned(trial, scans, queries) for queries in task.checkpoints)
            if not pruned:
                self._reach(trial, scans, None)
            area, lines = auroc(scans.scored), scans.lines()
            rates = summary(lines, [victim for victim, _ in scans.scored])
        write_lines(task.folder / f"{stem}.jsonl", lines)
        self._sign(trial, {"auroc": area, **rates, "ledger": f"{stem}.db"})
        if pruned:
            raise TrialPruned
        return (area,) if task.mode == "at" else (area, sum(line.queries for line in lines) / len(lines))

    def _pruned(self, trial: Trial, scans: TrialScans, queries: int) -> bool:
        """Whether the trial is pruned at this checkpoint; never at one that it passed before an interruption."""
        self._reach(trial, scans, queries)
        passed = _reported(trial)
        if queries not in passed:
            trial.report(auroc(scans.scored), queries)
        return queries >= max(passed, default=0) and trial.should_prune()

    def _reach(self, trial: Trial, scans: TrialScans, queries: int | None) -> None:
        where = "to the end" if queries is None else f"to {queries:,} queries"
        for done in scans.reach(queries):
            self._progress(done, len(scans), f"trial {trial.number} {where}")

    def _sign(self, trial: Trial, attributes: Mapping[str, Any]) -> None:
        for name, value in attributes.items():
            trial.set_user_attr(name, value)
        allowed = self._task.config.allowed_false_alarms
        if allowed is not None and attributes["fpr"] is not None and FALSE_ALARMS not in trial.constraints:
            trial.set_constraint(FALSE_ALARMS, attributes["fpr"] - allowed)


def _reported(trial: Trial) -> Sequence[int]:
    """The checkpoints for which Optuna has a value."""
    return list(trial.storage.get_trial(trial._trial_id).intermediate_values)


def write_lines(path: Path, lines: Sequence[ResultLine]) -> None:
    """Write all result lines of a trial. Raises StorageError."""
    write_atomically(path, "".join(f"{line.model_dump_json()}\n" for line in lines).encode())


def auroc(scored: Iterable[tuple[Victim, float | None]]) -> float:
    """The probability that a backdoored victim scores above a clean one, in [0, 1]; a tie counts one half.

    A missing score (None) ranks below all scores. Without any score, or without one of the kinds, AUROC is one half.
    """
    of: dict[str, list[float | None]] = {"backdoored": [], "clean": []}
    for victim, score in scored:
        of[victim.truth].append(score)
    area = ranking(of["backdoored"], of["clean"]).auroc
    return 0.5 if area is None else area


def summary(lines: Sequence[ResultLine], victims: Sequence[Victim]) -> dict[str, Any]:
    """The attributes of a trial as plain values; rates are in [0, 1], None without victims.

    lines: those of the finished scans. victims: those of all scans. accuracy: share of correct verdicts; `undecided`
    never is correct. tpr, fpr: share of verdicts `backdoored` among all backdoored and all clean victims; unfinished
    scans of a pruned trial count as not detected, so both are lower bounds there. mean_queries, median_queries: per
    finished scan.
    """
    queries = [line.queries for line in lines]
    return {
        "scans": len(lines),
        "accuracy": _share(line.right for line in lines),
        "tpr": _detected(lines, victims, "backdoored"),
        "fpr": _detected(lines, victims, "clean"),
        "undecided": _share(line.verdict == "undecided" for line in lines),
        "mean_queries": fmean(queries) if queries else None,
        "median_queries": float(median(queries)) if queries else None,
    }


def _detected(lines: Sequence[ResultLine], victims: Sequence[Victim], truth: str) -> float | None:
    count = sum(victim.truth == truth for victim in victims)
    detected = sum(line.verdict == "backdoored" for line in lines if line.truth == truth)
    return detected / count if count else None


def _share(hits: Iterable[bool]) -> float | None:
    values = list(hits)
    return fmean(values) if values else None
