"""The tuning history of a study file: its Optuna studies, grouped where they differ only in the sampler's seed."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial

from studies.study.study_file import StudyFile
from studies.tune.best import Tried, all_tried
from studies.tune.prepare import storage_of
from studies.tune.storage import every, quiet
from studies.tune.task import Mode


@dataclass(frozen=True)
class Tuned:
    """The trials of one mode at one budget. trials: by sampler seed, in the order of their numbers."""

    name: str
    mode: Mode
    budget: int
    trials: Mapping[int, tuple[Tried, ...]]

    @property
    def title(self) -> str:
        """The mode and the budget in words."""
        return f"AUROC {'at' if self.mode == 'at' else 'against queries, up to'} {self.budget:,} queries per scan"


def tuned(file: StudyFile, storage: str | None = None) -> list[Tuned]:
    """All tuning so far, by mode and budget; empty where there is no storage yet.

    storage: replaces that of the file, relative to the working folder. Raises StorageError; ConfigError without a
    `[tune]` table.
    """
    groups: dict[tuple[str, int], dict[int, tuple[Tried, ...]]] = defaultdict(dict)
    name = re.compile(rf"{re.escape(file.config.name)}-(at|pareto)-(\d+)-seed-(\d+)")
    for study in every(storage_of(file, storage)):
        if match := name.fullmatch(study.study_name):
            groups[match[1], int(match[2])][int(match[3])] = tuple(all_tried(study))
    return [
        Tuned(f"{mode}-{budget}", "at" if mode == "at" else "pareto", budget, dict(sorted(seeds.items())))
        for (mode, budget), seeds in sorted(groups.items())
    ]


def importances(group: Tuned) -> dict[str, float]:
    """The importance of each setting for AUROC, as shares of 1 in descending order, over complete trials.

    Computed by PED-ANOVA, which compares the settings of good trials with those of all. Empty where all AUROCs agree.
    """
    ended = [trial for of_seed in group.trials.values() for trial in of_seed if trial.state == "complete"]
    if len({trial.auroc for trial in ended}) < 2:
        return {}
    with quiet():
        pooled = optuna.create_study(direction="maximize")
        pooled.add_trials([_alone(trial) for trial in ended])
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        return dict(optuna.importance.get_param_importances(pooled, evaluator=evaluator))


def _alone(trial: Tried) -> FrozenTrial:
    """The trial with AUROC as its only value."""
    values, drawn = dict(trial.values), dict(trial.distributions)
    return optuna.trial.create_trial(params=values, distributions=drawn, value=trial.auroc or 0.0)
