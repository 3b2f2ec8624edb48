"""What a study file's tuning came to: the Optuna studies in its storage, those that differ in the seed as one."""

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
    """Trials of one mode at one budget. trials: of each sampler seed, by number."""

    name: str
    mode: Mode
    budget: int
    trials: Mapping[int, tuple[Tried, ...]]

    @property
    def title(self) -> str:
        """In words."""
        return f"AUROC {'at' if self.mode == 'at' else 'against queries, up to'} {self.budget:,} queries a scan"


def tuned(file: StudyFile, storage: str | None = None) -> list[Tuned]:
    """All that was tuned, by mode and budget; nothing where there is no storage yet.

    storage: instead of the file's, as seen from the working folder. Raises StorageError; ConfigError without `[tune]`.
    """
    found: dict[tuple[str, int], dict[int, tuple[Tried, ...]]] = defaultdict(dict)
    name = re.compile(rf"{re.escape(file.config.name)}-(at|pareto)-(\d+)-seed-(\d+)")
    for study in every(storage_of(file, storage)):
        if known := name.fullmatch(study.study_name):
            found[known[1], int(known[2])][int(known[3])] = tuple(all_tried(study))
    return [
        Tuned(f"{mode}-{budget}", "at" if mode == "at" else "pareto", budget, dict(sorted(seeds.items())))
        for (mode, budget), seeds in sorted(found.items())
    ]


def importances(group: Tuned) -> dict[str, float]:
    """How much each setting matters to AUROC, in shares of 1, the most important first; of trials that went to the end.

    PED-ANOVA: how far the settings of good trials stand out from those of all. Empty where too few differ.
    """
    ended = [one for of_seed in group.trials.values() for one in of_seed if one.state == "complete"]
    if len({one.auroc for one in ended}) < 2:
        return {}
    with quiet():
        pooled = optuna.create_study(direction="maximize")
        pooled.add_trials([_alone(one) for one in ended])
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        return dict(optuna.importance.get_param_importances(pooled, evaluator=evaluator))


def _alone(one: Tried) -> FrozenTrial:
    """With AUROC as its one value."""
    values, drawn = dict(one.values), dict(one.distributions)
    return optuna.trial.create_trial(params=values, distributions=drawn, value=one.auroc or 0.0)
