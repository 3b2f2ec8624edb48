"""Trials one after another: each begun once, gone on with after a kill, and no more than are wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from filelock import FileLock
from optuna.trial import FrozenTrial, TrialState

from db.errors import StorageBusy, StorageError
from simkit.errors import ConfigError
from studies.tune.run import work
from studies.tune.storage import opened, placed, read, shown
from studies.tune.task import Task
from tests.studies.tune.fakes import Killed, Parabola, Refusing, task_of

pytestmark = pytest.mark.slow


def told(trials: list[FrozenTrial]) -> list[tuple[Any, ...]]:
    return [(trial.number, trial.state, trial.params, trial.values) for trial in trials]


def worked(task: Task) -> list[tuple[Any, ...]]:
    list(work(task, Parabola))
    return told(read(task).trials)


def test_a_study_has_as_many_trials_as_are_wanted(zoo: Path, tmp_path: Path) -> None:
    assert [trial.number for trial in work(task_of(zoo, tmp_path), Parabola)] == [0, 1, 2, 3, 4, 5]
    assert list(work(task_of(zoo, tmp_path), Parabola)) == []
    assert [trial.number for trial in work(task_of(zoo, tmp_path, trials=8), Parabola)] == [6, 7]
    assert [path.name for path in (tmp_path / "trials").glob("worker-*")] == []


@pytest.mark.parametrize("kill", [0, 4])
def test_a_study_that_was_broken_off_comes_to_what_it_would_have(zoo: Path, tmp_path: Path, kill: int) -> None:
    whole = worked(task_of(zoo, tmp_path / "whole"))
    task = task_of(zoo, tmp_path / "broken")
    dying = Parabola(task, dies=(kill,))
    with pytest.raises(Killed):
        list(work(task, lambda _: dying))
    assert read(task).trials[-1].state == TrialState.RUNNING
    going_on = Parabola(task)
    list(work(task, lambda _: going_on))
    assert going_on.begun == list(range(kill, 6))
    assert told(read(task).trials) == whole
    assert [path.name for path in task.folder.glob("worker-*")] == []


def test_a_trial_that_nobody_signed_is_taken_up(zoo: Path, tmp_path: Path) -> None:
    task = task_of(zoo, tmp_path)
    with opened(task, make=True) as study:
        study.ask()
    whole = worked(task_of(zoo, tmp_path / "whole"))
    assert worked(task) == whole


@pytest.mark.parametrize("after", [False, True])
def test_a_trial_is_signed_before_it_begins(
    after: bool, zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = worked(task_of(zoo, tmp_path / "whole"))
    task, ask = task_of(zoo, tmp_path / "broken"), optuna.Study.ask

    def killed(study: optuna.Study) -> optuna.Trial:
        if after:
            ask(study)
        raise Killed

    monkeypatch.setattr(optuna.Study, "ask", killed)
    with pytest.raises(Killed):
        list(work(task, Parabola))
    monkeypatch.undo()
    (trial,) = read(task).trials
    assert (task.folder / f"worker-{trial.user_attrs['worker']}.lock").exists()
    monkeypatch.setattr("studies.tune.run.file_of", lambda _: None)  # as on a server, where nothing unsigned is free
    assert worked(task) == whole
    assert [path.name for path in task.folder.glob("worker-*")] == []


def test_a_trial_of_a_process_that_lives_is_left_alone(zoo: Path, tmp_path: Path) -> None:
    task = task_of(zoo, tmp_path, trials=2)
    task.folder.mkdir(parents=True)
    with opened(task, make=True) as study:
        study.ask().set_user_attr("worker", "other")
    with FileLock(task.folder / "worker-other.lock"):
        assert [trial.number for trial in work(task, Parabola)] == [1]
    assert [trial.number for trial in work(task, Parabola)] == [0]


def test_settings_that_cannot_be_fail_and_count_and_the_study_goes_on(zoo: Path, tmp_path: Path) -> None:
    states = [(trial.state, trial.user_attrs.get("error")) for trial in work(task_of(zoo, tmp_path), Refusing)]
    complete, failed = (TrialState.COMPLETE, None), (TrialState.FAIL, "no odd numbers")
    assert states == [complete, failed, (TrialState.PRUNED, None), failed, complete, failed]


def test_a_trial_too_many_ends_at_once_and_does_not_count(
    zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, ask = task_of(zoo, tmp_path, trials=1), optuna.Study.ask

    def late(study: optuna.Study) -> optuna.Trial:
        """Another machine was faster, since this one counted."""
        ask(study).set_user_attr("worker", "elsewhere")
        return ask(study)

    task.folder.mkdir(parents=True)
    with FileLock(task.folder / "worker-elsewhere.lock"):
        monkeypatch.setattr(optuna.Study, "ask", late)
        assert list(work(task, Parabola)) == []
        monkeypatch.undo()
        states = [(trial.state, trial.user_attrs.get("surplus")) for trial in read(task).trials]
        assert states == [(TrialState.RUNNING, None), (TrialState.FAIL, True)]
        assert [trial.number for trial in work(task_of(zoo, tmp_path, trials=2), Parabola)] == [2]


def test_another_study_under_the_same_name_is_refused(zoo: Path, tmp_path: Path) -> None:
    list(work(task_of(zoo, tmp_path, trials=1), Parabola))
    with pytest.raises(ConfigError, match=r"was started with other tune\.startup; rename the study"):
        list(work(task_of(zoo, tmp_path, startup=3), Parabola))
    other = task_of(zoo, tmp_path, seed=1, trials=1)
    assert [trial.number for trial in work(other, Parabola)] == [0]


def test_sqlite_takes_one_process(zoo: Path, tmp_path: Path) -> None:
    task = task_of(zoo, tmp_path)
    first = work(task, Parabola)
    next(first)
    with pytest.raises(StorageBusy, match=r"optuna\.db: another process writes to it"):
        next(work(task, Parabola))
    assert [trial.number for trial in first] == [1, 2, 3, 4, 5]


def test_what_is_not_there_is_told(zoo: Path, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="nothing was tuned yet"):
        read(task_of(zoo, tmp_path))
    list(work(task_of(zoo, tmp_path, trials=1), Parabola))
    with pytest.raises(StorageError, match="no study 'fake-at-100-seed-1'; it has fake-at-100-seed-0"):
        read(task_of(zoo, tmp_path, seed=1))


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("", "sqlite:////there/x.db"),
        ("sqlite:///own.db", "sqlite:////here/own.db"),
        ("sqlite:////own.db", "sqlite:////own.db"),
        ("postgresql://me@host/db", "postgresql+psycopg://me@host/db"),
        ("postgres://me@host/db", "postgresql+psycopg://me@host/db"),
        ("postgresql+psycopg://me@host/db", "postgresql+psycopg://me@host/db"),
    ],
)
def test_where_the_tables_are(given: str, url: str) -> None:
    assert placed(given, Path("/here"), Path("/there/x.db")) == url


def test_a_password_is_not_shown() -> None:
    assert shown("postgresql://me:se:cret@host/db") == "postgresql://me:***@host/db"
    with pytest.raises(ConfigError, match=r"storage 'mysql://me:\*\*\*@host/db': give sqlite"):
        placed("mysql://me:secret@host/db", Path(), Path())
