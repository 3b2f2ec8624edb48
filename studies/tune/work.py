"""The trials of a study, one after another in each process: begun, gone on with after a kill, and told to Optuna.

A trial that its process did not bring to an end stays under way in Optuna's tables. Whoever asks next takes it up as it
was: its settings are there, and its ledger has what was asked. So a study that was broken off comes to what it would
have come to. Each process holds a lock of its own for as long as it lives, which tells the dead from the living.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from filelock import FileLock, Timeout
from optuna import Study, Trial, TrialPruned
from optuna.trial import FrozenTrial, TrialState

from simkit.errors import ConfigError
from simkit.files import make_folder
from studies.tune.storage import file_of, opened
from studies.tune.task import Task

_WORKER, _SURPLUS, _ERROR = "worker", "surplus", "error"
"""Attributes of a trial: who is at it, whether it was begun in vain, and why its settings cannot be."""

_GRACE = datetime.timedelta(minutes=1)
"""A trial that nobody signed for so long is nobody's."""


class Objective(Protocol):
    """The values of a trial. Raises TrialPruned; ConfigError where its settings exclude each other."""

    def __call__(self, trial: Trial, /) -> Sequence[float]: ...


MakeObjective: TypeAlias = Callable[[Task], Objective]


def work(task: Task, make: MakeObjective) -> Iterator[FrozenTrial]:
    """Work on trials until the study has as many as wanted, each as it ends.

    Raises StorageError, ConfigError, and what the objective raises: then its trial stays under way.
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
    except ConfigError as error:
        trial.set_user_attr(_ERROR, str(error))
        study.tell(trial, state=TrialState.FAIL)
    else:
        study.tell(trial, values)


@contextmanager
def _worker(folder: Path) -> Iterator[str]:
    """A name that is locked for as long as this process works; its file stays where it left a trial under way."""
    make_folder(folder)
    name = uuid.uuid4().hex
    with FileLock(_lock_of(folder, name)):
        yield name
    _lock_of(folder, name).unlink(missing_ok=True)


def _lock_of(folder: Path, worker: str) -> Path:
    return folder / f"worker-{worker}.lock"


@dataclass(frozen=True)
class _Claims:
    """Hands out trials, each to one process."""

    study: Study
    task: Task
    worker: str

    def next(self) -> Trial | None:
        """One that nobody is at any more, or a new one; None where there are enough."""
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
        """Remove the locks of processes that died and left no trial under way; nobody else would."""
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        wanted = {_lock_of(self.task.folder, str(trial.user_attrs.get(_WORKER))) for trial in running}
        for path in set(self.task.folder.glob("worker-*.lock")) - wanted:
            with suppress(Timeout), FileLock(path, timeout=0):
                path.unlink(missing_ok=True)

    def _abandoned(self) -> Trial | None:
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        # Optuna asks for new trials only; this is what it makes of one, and what was drawn is drawn no more
        return next((Trial(self.study, t._trial_id) for t in running if self._is_abandoned(t)), None)

    def _is_abandoned(self, trial: FrozenTrial) -> bool:
        worker = trial.user_attrs.get(_WORKER)
        if worker is None:  # two machines took from the queue at once, and one was killed before it could sign
            began = trial.datetime_start
            alone = file_of(self.task.storage) is not None
            return alone or (began is not None and datetime.datetime.now() - began > _GRACE)
        path = _lock_of(self.task.folder, worker)
        if not path.exists():
            return file_of(self.task.storage) is not None  # else it may be of another machine
        try:
            with FileLock(path, timeout=0):
                return True
        except Timeout:
            return False

    def _fresh(self) -> Trial | None:
        """A new trial. Of those that two machines begin at once the last are surplus, and end at once."""
        if not self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            if self._count(None) >= self.task.config.trials:
                return None
            # in a queue a trial is signed before it begins: no kill leaves one under way that is nobody's
            self.study.enqueue_trial({}, user_attrs={_WORKER: self.worker})
        trial = self.study.ask()
        if self._count(trial.number) < self.task.config.trials:
            return trial
        trial.set_user_attr(_SURPLUS, True)
        self.study.tell(trial, state=TrialState.FAIL)
        return None

    def _count(self, before: int | None) -> int:
        """Trials that count, of those with a number below `before`."""
        trials = self.study.get_trials(deepcopy=False)
        return sum(_SURPLUS not in t.user_attrs and (before is None or t.number < before) for t in trials)
