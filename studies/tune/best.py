"""What a study came to: its best setting, or its front, and that as a part of a study file."""

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
    """A trial as it is told. state: complete, pruned, failed or under way. values: settings by dotted name.

    auroc: at the budget, of a pruned one where it was pruned. attributes: see `studies.tune.objective.summary`.
    distributions: what the values were drawn from.
    """

    number: int
    state: str
    values: Mapping[str, Any]
    auroc: float | None
    feasible: bool
    attributes: Mapping[str, Any]
    distributions: Mapping[str, BaseDistribution]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
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
_TOLD = ("scans", "accuracy", "tpr", "fpr", "undecided", "mean_queries", "median_queries", "ledger", "error")


def tried(trial: FrozenTrial) -> Tried:
    """Of a trial of any state."""
    known = {name: trial.user_attrs.get(name) for name in _TOLD}
    feasible = all(value <= 0 for value in trial.constraints.values())
    area = trial.user_attrs.get("auroc")
    state = _STATES[trial.state]
    return Tried(trial.number, state, dict(trial.params), area, feasible, known, dict(trial.distributions))


def all_tried(study: optuna.Study) -> list[Tried]:
    """Every trial by its number, without those that were begun in vain."""
    return [tried(t) for t in study.get_trials(deepcopy=False) if "surplus" not in t.user_attrs]


def best(study: optuna.Study) -> list[Tried]:
    """The best trial, or the front by queries, of the trials that went to the end and keep the constraint.

    Of equal AUROC the fewest queries are best, then the first trial. Raises DataError where there is none.
    """
    ended = [one for one in all_tried(study) if one.state == "complete" and one.feasible]
    if not ended:
        raise DataError(
            f"study {study.study_name!r}: no trial went to its end within the allowed false alarms; try more trials"
        )
    return sorted(ended, key=_rank)[:1] if len(study.directions) == 1 else front(ended)


def _rank(one: Tried) -> tuple[float, float, int]:
    return -(one.auroc or 0.0), one.attributes["mean_queries"], one.number


def front(ended: Sequence[Tried]) -> list[Tried]:
    """Those that no other beats in AUROC or queries without being beaten in the other, the cheapest first.

    Of equal ones the first trial.
    """
    found: list[Tried] = []
    for one in sorted(ended, key=_rank):
        if not found or one.attributes["mean_queries"] < found[-1].attributes["mean_queries"]:
            found.append(one)
    return found[::-1]


def snippet(task: Task, one: Tried) -> str:
    """An entry of `[[detectors]]` that scans as the trial did, with a comment that says where it is from.

    It holds all settings that are not the detector's own, and the service by its name in the tuned study file.
    """
    count = sum(len(victims) for _, victims in task.zoos)
    area = "unknown" if one.auroc is None else f"{one.auroc:.3f}"
    study, _ = task.zoos[0]  # all have the file's settings with those of the table over them
    fixed = {name: value for name, value in study.settings.items() if name not in SET_ELSEWHERE}
    return "\n".join(
        (
            f"# Trial {one.number} of {task.study_name}: AUROC {area} at {task.budget:,} queries, {count} scans of",
            "# split tune. Quote no figure of those: scan report victims with it.",
            "[[detectors]]",
            f"name = {json.dumps(task.config.detector)}",
            f"budget = {task.budget}",
            f"services = {json.dumps([task.service])}",
            "",
            "[detectors.settings]",
            *(f"{name} = {json.dumps(value)}" for name, value in leaves(with_values(fixed, one.values))),
            "",
        )
    )
