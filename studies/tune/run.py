"""A task worked on until it has its trials, by this process or by several."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from concurrent.futures.process import BrokenProcessPool

import optuna
import torch
from optuna.trial import FrozenTrial

from simkit.errors import ConfigError
from studies.executors import Workers, crew
from studies.tune.storage import opened, quiet
from studies.tune.task import Task
from studies.tune.work import MakeObjective, work

_LOOK_SECONDS = 1.0
"""How often the tables are looked at for trials that other processes brought to an end."""


def tune(task: Task, make: MakeObjective) -> Iterator[FrozenTrial]:
    """Every trial that is brought to an end now, until the study has as many as wanted.

    make: the objective, in each process. Raises as `work` does, ConfigError where a process died.
    """
    if task.config.workers == 1:
        torch.set_num_threads(task.threads)
        with quiet():
            yield from work(task, make)
        return
    with quiet(), opened(task, make=True) as study:  # one process makes the tables
        before = {trial.number for trial in _ended(study)}
        with crew(Workers(task.config.workers, task.threads), __name__) as at_work:
            futures = [at_work.executor.submit(_drain, task, make) for _ in range(task.config.workers)]
            yield from _told(study, futures, before)


def _drain(task: Task, make: MakeObjective) -> None:
    with quiet():
        for _ in work(task, make):
            pass


def _told(study: optuna.Study, futures: list[Future[None]], told: set[int]) -> Iterator[FrozenTrial]:
    """The trials that end while these processes work, those in `told` not again; the first error ends it."""
    working = True
    while working:
        done, others = wait(futures, _LOOK_SECONDS, FIRST_EXCEPTION)
        working = bool(others) and not any(future.exception() for future in done)
        fresh = [trial for trial in _ended(study) if trial.number not in told]
        told |= {trial.number for trial in fresh}
        yield from fresh
    try:
        for future in done:
            future.result()
    except BrokenProcessPool:
        raise ConfigError(
            "a process died, for example for want of memory; the same command goes on, with fewer --workers"
        ) from None


def _ended(study: optuna.Study) -> list[FrozenTrial]:
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
