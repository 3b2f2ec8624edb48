"""Objectives that scan nothing, and tasks for them."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optuna import Trial, TrialPruned

from simkit.errors import ConfigError
from simkit.zoo.manifest import Manifest
from studies.study.tune_config import Span, TuneConfig
from studies.study.unit import Study
from studies.tune.space import suggested
from studies.tune.task import Mode, Task

SPACE = {"search.largest_side": Span(low=1, high=4), "search.required_success": Span(low=0.5, high=0.9)}


def task_of(zoo: Path, folder: Path, mode: Mode = "at", storage: str = "", **changes: Any) -> Task:
    """A task of the zoo in `zoo`, its tables and trials in `folder`."""
    known: dict[str, Any] = {"detector": "random-patch", "space": SPACE, "trials": 6, "startup": 2}
    config = TuneConfig.model_validate(known | changes)
    manifest = Manifest.load(zoo)
    study = Study(zoo, "demo", "tune", folder / "r.jsonl", folder, {"data": "digits", "budget": 100})
    where = storage or f"sqlite:///{folder / 'optuna.db'}"
    return Task("fake", mode, 100, config, ((study, manifest.victims),), folder / "trials", where, "scores")


class Killed(Exception):
    """Stands for a kill: nothing is told to Optuna."""


class Parabola:
    """Best where a patch needs a success of 0.8. dies: numbers of trials in which its process ends."""

    def __init__(self, task: Task, dies: Sequence[int] = ()) -> None:
        self._task, self._dies = task, dies
        self.begun: list[int] = []

    def __call__(self, trial: Trial, /) -> Sequence[float]:
        self.begun.append(trial.number)
        values = suggested(trial, self._task.config.space)
        if trial.number in self._dies:
            raise Killed
        return (-((float(values["search.required_success"]) - 0.8) ** 2),)


class Refusing(Parabola):
    """Takes no trial of odd number, and prunes the third."""

    def __call__(self, trial: Trial, /) -> Sequence[float]:
        values = super().__call__(trial)
        if trial.number % 2:
            raise ConfigError("no odd numbers")
        if trial.number == 2:
            trial.report(0.25, 10)
            raise TrialPruned
        return values


class Dying(Parabola):
    """Takes its process with it in the sixth trial."""

    def __call__(self, trial: Trial, /) -> Sequence[float]:
        values = super().__call__(trial)
        if trial.number == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return values
