"""The best trial or the Pareto front of an Optuna study, also as a file of settings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from simkit.errors import DataError
from studies.scan.overrides import leaves
from studies.study.config import SET_ELSEWHERE
from studies.tune.space import with_values
from studies.tune.task import Task


@dataclass(frozen=True)
class Tried:
    """A trial as plain data.

    state: complete, pruned, failed, under way or waiting. values: settings by dotted name. auroc: at the budget, or
    where a pruned trial was pruned. attributes: see `studies.tune.objective.summary`. distributions: those that the
    values were drawn from.
    """

    number: int
    state: str
    values: Mapping[str, Any]
    auroc: float | None
    feasible: bool
    attributes: Mapping[str, Any]
    distributions: Mapping[str, BaseDistribution]

    def to_json(self) -> dict[str, Any]:
        """The trial as plain values for JSON."""
        return {
            "trial": self.number,
            "state": self.state,
            "settings": dict(self.values),
            "auroc": self.auroc,
            "feasible": self.feasible,
            **self.attributes,
        }


_STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "under way",
    TrialState.WAITING: "waiting",
}
_ATTRIBUTES = ("scans", "accuracy", "tpr", "fpr", "undecided", "mean_queries", "median_queries", "ledger", "error")


def tried(trial: FrozenTrial) -> Tried:
    """The record of an Optuna trial in any state."""
    attributes = {name: trial.user_attrs.get(name) for name in _ATTRIBUTES}
    feasible = all(value <= 0 for value in trial.constraints.values())
    area = trial.user_attrs.get("auroc")
    state = _STATES[trial.state]
    return Tried(trial.number, state, dict(trial.params), area, feasible, attributes, dict(trial.distributions))


def all_tried(study: optuna.Study) -> list[Tried]:
    """Every trial by number, without surplus ones that two machines started at once."""
    return [tried(t) for t in study.get_trials(deepcopy=False) if "surplus" not in t.user_attrs]


def best(study: optuna.Study) -> list[Tried]:
    """The best trial, or the Pareto front by queries, among complete trials that meet the constraint.

    At equal AUROC, fewer queries are better, then the earlier trial. Raises DataError where there is none.
    """
    ended = [trial for trial in all_tried(study) if trial.state == "complete" and trial.feasible]
    if not ended:
        raise DataError(f"study {study.study_name!r}: no complete trial has an allowed FPR; run more trials")
    return sorted(ended, key=_rank)[:1] if len(study.directions) == 1 else front(ended)


def _rank(trial: Tried) -> tuple[float, float, int]:
    return -(trial.auroc or 0.0), trial.attributes["mean_queries"], trial.number


def front(ended: Sequence[Tried]) -> list[Tried]:
    """The Pareto-optimal trials by AUROC and mean queries, cheapest first; of equal ones the earliest."""
    optimal: list[Tried] = []
    for trial in sorted(ended, key=_rank):
        if not optimal or trial.attributes["mean_queries"] < optimal[-1].attributes["mean_queries"]:
            optimal.append(trial)
    return optimal[::-1]


def settings_file(task: Task, trial: Tried) -> str:
    """All settings that the trial ran with, for `simkit scan --settings` and `settings_file` of a study.

    Each line is a KEY=VALUE of `--set`; the seed is left out, since a scan's seed is its own.
    """
    count = sum(len(victims) for _, victims in task.zoos)
    area = "unknown" if trial.auroc is None else f"{trial.auroc:.3f}"
    study, _ = task.zoos[0]  # all share the file's settings and those of its [tune] table
    fixed = {name: value for name, value in study.settings.items() if name not in SET_ELSEWHERE}
    service = study.settings["oracle"].model_dump(exclude_defaults=True)
    detector = json.dumps(task.config.detector, ensure_ascii=False)
    settings = {"oracle": service} if service else {}
    settings |= with_values(fixed, trial.values)
    return "\n".join(
        (
            f"# Trial {trial.number} of {task.study_name}: AUROC {area} at {task.budget:,} queries, over {count} scans",
            "# of split tune. Do not quote this figure; scan report victims with these settings.",
            "#",
            "# One model:  simkit scan MODEL --data DATA --settings FILE, with this file as FILE.",
            f"# In a study: a [[detectors]] entry with name = {detector} and settings_file = FILE; its services are the"
            " study's.",
            f"preset = {detector}",
            f"budget = {task.budget}",
            *(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in leaves(settings)),
            "",
        )
    )
