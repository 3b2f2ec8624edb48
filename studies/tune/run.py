"""Runs the trials of a task until it has as many as wanted, in this process or in several."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

import optuna
import torch
from filelock import FileLock, Timeout
from optuna import Study, Trial, TrialPruned
from optuna.trial import FrozenTrial, TrialState

from simkit.errors import ConfigError
from simkit.files import make_folder
from studies.scan.ledger_run import PaidElsewhere
from studies.study.executors import Workers, worker_pool
from studies.tune.storage import file_of, opened, quiet
from studies.tune.task import Task

_LOOK_SECONDS = 1.0
"""Seconds between two looks into the tables for trials that other processes finished."""


def tune(task: Task, make: MakeObjective) -> Iterator[FrozenTrial]:
    """Run trials until the study has as many as wanted, and yield each as it ends.

    make: makes the objective in each process. Raises as `work` does, and ConfigError where a process died.
    """
    if task.config.workers == 1:
        torch.set_num_threads(task.threads)
        with quiet():
            yield from work(task, make)
        return
    with quiet(), opened(task, make=True) as study:  # only this process creates the tables
        before = {trial.number for trial in _ended(study)}
        with worker_pool(Workers(task.config.workers, task.threads), __name__) as at_work:
            futures = [at_work.executor.submit(_drain, task, make) for _ in range(task.config.workers)]
            yield from _newly_ended(study, futures, before)


def _drain(task: Task, make: MakeObjective) -> None:
    with quiet():
        for _ in work(task, make):
            pass


def _newly_ended(study: optuna.Study, futures: list[Future[None]], seen: set[int]) -> Iterator[FrozenTrial]:
    """The trials that end while these processes work, except those in `seen`; the first error stops the iteration."""
    working = True
    while working:
        done, others = wait(futures, _LOOK_SECONDS, FIRST_EXCEPTION)
        working = bool(others) and not any(future.exception() for future in done)
        fresh = [trial for trial in _ended(study) if trial.number not in seen]
        seen |= {trial.number for trial in fresh}
        yield from fresh
    try:
        for future in done:
            future.result()
    except BrokenProcessPool:
        raise ConfigError(
            "a process died, perhaps out of memory; run the same command again with fewer --workers"
        ) from None


def _ended(study: optuna.Study) -> list[FrozenTrial]:
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]


_WORKER, _SURPLUS, _ERROR = "worker", "surplus", "error"
"""Attributes of a trial: the worker that runs it, whether it is surplus, and why its settings are impossible."""

_GRACE = datetime.timedelta(minutes=1)
"""A trial that no worker has claimed for this long is abandoned."""


class Objective(Protocol):
    """Computes the values of a trial. Raises TrialPruned; ConfigError where its settings exclude each other."""

    def __call__(self, trial: Trial, /) -> Sequence[float]: ...


MakeObjective: TypeAlias = Callable[[Task], Objective]


def work(task: Task, make: MakeObjective) -> Iterator[FrozenTrial]:
    """Run trials until the study has as many as wanted, and yield each as it ends.

    Raises StorageError, ConfigError, and as the objective does; its trial is then resumed by the next worker.
    """
    with opened(task, make=True) as study, _worker(task.folder) as name:
        claims, objective = _Claims(study, task, name), make(task)
        while (trial := claims.next()) is not None:
            _conduct(study, trial, objective)
            yield next(t for t in study.get_trials(deepcopy=False) if t.number == trial.number)


def _conduct(study: Study, trial: Trial, objective: Objective) -> None:
    try:
        values = objective(trial)
    except TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)
    except PaidElsewhere:
        raise  # the settings are possible: the trial is left for its own environment, or for --new-run
    except ConfigError as error:
        trial.set_user_attr(_ERROR, str(error))
        study.tell(trial, state=TrialState.FAIL)
    else:
        study.tell(trial, values)


@contextmanager
def _worker(folder: Path) -> Iterator[str]:
    """A worker's name, locked while this process works; its lock file stays if it leaves a trial unfinished."""
    make_folder(folder)
    name = uuid.uuid4().hex
    with FileLock(_lock_of(folder, name)):
        yield name
    _lock_of(folder, name).unlink(missing_ok=True)


def _lock_of(folder: Path, worker: str) -> Path:
    return folder / f"worker-{worker}.lock"


@dataclass(frozen=True)
class _Claims:
    """Assigns trials to workers, each to one process."""

    study: Study
    task: Task
    worker: str

    def next(self) -> Trial | None:
        """An abandoned trial, else a new one; None where there are enough."""
        with FileLock(self.task.folder / "claims.lock"):
            trial = self._abandoned() or self._fresh()
            if trial is None:
                self._tidy()
                return None
            before = trial.user_attrs.get(_WORKER)
            trial.set_user_attr(_WORKER, self.worker)
            if before not in (None, self.worker):
                _lock_of(self.task.folder, before).unlink(missing_ok=True)
            return trial

    def _tidy(self) -> None:
        """Remove the locks of processes that died without leaving a trial unfinished."""
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        wanted = {_lock_of(self.task.folder, str(trial.user_attrs.get(_WORKER))) for trial in running}
        for path in set(self.task.folder.glob("worker-*.lock")) - wanted:
            with suppress(Timeout), FileLock(path, timeout=0):
                path.unlink(missing_ok=True)

    def _abandoned(self) -> Trial | None:
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        # Optuna hands out new trials only; this resumes an old one, whose drawn values are kept
        return next((Trial(self.study, t._trial_id) for t in running if self._is_abandoned(t)), None)

    def _is_abandoned(self, trial: FrozenTrial) -> bool:
        worker = trial.user_attrs.get(_WORKER)
        if worker is None:  # two machines took from the queue at once, and one was killed before it claimed its trial
            began = trial.datetime_start
            alone = file_of(self.task.storage) is not None
            return alone or (began is not None and datetime.datetime.now() - began > _GRACE)
        path = _lock_of(self.task.folder, worker)
        if not path.exists():
            return file_of(self.task.storage) is not None  # otherwise the worker may be on another machine
        try:
            with FileLock(path, timeout=0):
                return True
        except Timeout:
            return False

    def _fresh(self) -> Trial | None:
        """A new trial; trials beyond the wanted number, which two machines may start at once, fail immediately."""
        if not self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            if self._count(None) >= self.task.config.trials:
                return None
            # a queued trial is claimed before it starts, so that no killed process leaves one unclaimed
            self.study.enqueue_trial({}, user_attrs={_WORKER: self.worker})
        trial = self.study.ask()
        if self._count(trial.number) < self.task.config.trials:
            return trial
        trial.set_user_attr(_SURPLUS, True)
        self.study.tell(trial, state=TrialState.FAIL)
        return None

    def _count(self, before: int | None) -> int:
        """The number of trials without surplus ones, of those with a number below `before`."""
        trials = self.study.get_trials(deepcopy=False)
        return sum(_SURPLUS not in t.user_attrs and (before is None or t.number < before) for t in trials)
