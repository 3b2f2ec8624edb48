"""What a trial is worth: every victim is scanned under its settings, and AUROC says how well the scores tell them."""

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
"""The constraint: FPR less what is allowed, feasible at 0 and below.

Of a pruned trial only finished scans can be false alarms: it counts as infeasible where they alone are too many.
"""


class ScanObjective:
    """Runs trials of a task in this process. Satisfies `Objective`.

    A trial's ledger is `trial-0007.db`, its lines of results `trial-0007.jsonl`. At each checkpoint all scans have
    asked as many queries or have their verdict; the AUROC of their scores is reported, and the pruner asked. The cap of
    every scan is its oracle's. What a trial came to is set once, last: a value that Optuna has of a trial before it was
    broken off would stay.
    """

    def __init__(self, task: Task, told: OnProgress = unheard) -> None:
        self._task, self._told, self._lineup = task, told, PreparedVictims()

    def __call__(self, trial: Trial, /) -> Sequence[float]:
        task, stem = self._task, self._task.stem(trial.number)
        values = suggested(trial, task.config.space)
        with Ledger.open(task.folder / f"{stem}.db") as ledger:
            scans = TrialScans(task, values, self._lineup, ledger)
            pruned = any(self._pruned(trial, scans, queries) for queries in task.checkpoints)
            if not pruned:
                self._reach(trial, scans, None)
            area, lines = auroc(scans.scored), scans.lines()
            told = summary(lines, [victim for victim, _ in scans.scored])
        write_lines(task.folder / f"{stem}.jsonl", lines)
        self._sign(trial, {"auroc": area, **told, "ledger": f"{stem}.db"})
        if pruned:
            raise TrialPruned
        return (area,) if task.mode == "at" else (area, sum(line.queries for line in lines) / len(lines))

    def _pruned(self, trial: Trial, scans: TrialScans, queries: int) -> bool:
        """Whether the trial ends at this checkpoint. One that it passed before it was broken off is not asked about."""
        self._reach(trial, scans, queries)
        known = _reported(trial)
        if queries not in known:
            trial.report(auroc(scans.scored), queries)
        return queries >= max(known, default=0) and trial.should_prune()

    def _reach(self, trial: Trial, scans: TrialScans, queries: int | None) -> None:
        where = "to the end" if queries is None else f"to {queries:,} queries"
        for done in scans.reach(queries):
            self._told(done, len(scans), f"trial {trial.number} {where}")

    def _sign(self, trial: Trial, told: Mapping[str, Any]) -> None:
        for name, value in told.items():
            trial.set_user_attr(name, value)
        allowed = self._task.config.allowed_false_alarms
        if allowed is not None and told["fpr"] is not None and FALSE_ALARMS not in trial.constraints:
            trial.set_constraint(FALSE_ALARMS, told["fpr"] - allowed)


def _reported(trial: Trial) -> Sequence[int]:
    """The checkpoints that Optuna has values of."""
    return list(trial.storage.get_trial(trial._trial_id).intermediate_values)


def write_lines(path: Path, lines: Sequence[ResultLine]) -> None:
    """All lines of a trial at once. Raises StorageError."""
    write_atomically(path, "".join(f"{line.model_dump_json()}\n" for line in lines).encode())


def auroc(scored: Iterable[tuple[Victim, float | None]]) -> float:
    """The chance that a backdoored victim scores above a clean one, in [0, 1]; a tie counts half.

    None, no score, lies below every score. Where nobody has one, or one kind is missing, it is one half.
    """
    of: dict[str, list[float | None]] = {"backdoored": [], "clean": []}
    for victim, score in scored:
        of[victim.truth].append(score)
    area = ranking(of["backdoored"], of["clean"]).auroc
    return 0.5 if area is None else area


def summary(lines: Sequence[ResultLine], victims: Sequence[Victim]) -> dict[str, Any]:
    """Plain values for a trial's attributes; shares in [0, 1], None of nobody.

    lines: of the finished scans. victims: of all scans. accuracy: verdicts that are the truth, `undecided` never is.
    tpr, fpr: verdicts `backdoored` of all backdoored and all clean victims; a scan that a pruned trial left unfinished
    accuses nobody, so that there both are at most what the whole trial would have come to. mean_queries,
    median_queries: a finished scan.
    """
    queries = [line.queries for line in lines]
    return {
        "scans": len(lines),
        "accuracy": _share(line.right for line in lines),
        "tpr": _accused(lines, victims, "backdoored"),
        "fpr": _accused(lines, victims, "clean"),
        "undecided": _share(line.verdict == "undecided" for line in lines),
        "mean_queries": fmean(queries) if queries else None,
        "median_queries": float(median(queries)) if queries else None,
    }


def _accused(lines: Sequence[ResultLine], victims: Sequence[Victim], truth: str) -> float | None:
    count = sum(victim.truth == truth for victim in victims)
    accused = sum(line.verdict == "backdoored" for line in lines if line.truth == truth)
    return accused / count if count else None


def _share(hits: Iterable[bool]) -> float | None:
    told = list(hits)
    return fmean(told) if told else None
