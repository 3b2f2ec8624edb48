"""Optuna's tables, in a file beside the results or in a database by its URL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.study import StudyDirection

from db.errors import StorageBusy, StorageError
from oracles.errors import one_line
from simkit.errors import ConfigError
from simkit.files import make_folder
from studies.scan.canonical import canonical
from studies.scan.config import ScanConfig
from studies.tune.sampler import pruner, sampler
from studies.tune.space import defaults
from studies.tune.task import Task

_FILE = "sqlite:///"
_PASSWORD = re.compile(r"(://[^:/@]+):[^@/]*@")
_IDENTITY = "simkit"
"""The attribute of a study that stores everything its values depend on."""

_PATIENCE = 60.0
"""Seconds that SQLite waits for another process, such as optuna-dashboard."""


def placed(storage: str, beside: Path, default: Path) -> str:
    """The URL, with a file path relative to the folder `beside`. default: the file for an empty `storage`."""
    if not storage:
        return f"{_FILE}{default}"
    if storage.startswith(_FILE):
        return f"{_FILE}{beside / storage.removeprefix(_FILE)}"
    if re.match(r"(postgres|postgresql)(\+\w+)?://", storage):
        return re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", storage)
    raise ConfigError(f"storage {shown(storage)!r}: give sqlite:///FILE or postgresql://USER@HOST/DATABASE")


def shown(storage: str) -> str:
    """The URL without a password."""
    return _PASSWORD.sub(r"\1:***@", storage)


def file_of(storage: str) -> Path | None:
    """The SQLite file; None for a server."""
    return Path(storage.removeprefix(_FILE)) if storage.startswith(_FILE) else None


def check_processes(storage: str, workers: int) -> None:
    """Raises ConfigError for several processes on SQLite, which cannot lock a row."""
    if workers > 1 and file_of(storage) is not None:
        raise ConfigError(
            f"{workers} workers need a database for several writers, which {shown(storage)} is not; give --storage "
            "postgresql://USER@HOST/DATABASE, or --workers 1"
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Let Optuna log warnings only, since the commands report the rest."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


@contextmanager
def opened(task: Task, *, make: bool) -> Iterator[optuna.Study]:
    """The task's study, to add trials to; a SQLite file is locked meanwhile. make: whether to create the study.

    Raises StorageBusy where another process uses the file, StorageError, and ConfigError where the study was started
    with other settings.
    """
    path = file_of(task.storage)
    if path is not None:
        make_folder(path.parent)
    lock = nullcontext() if path is None else FileLock(f"{path}.lock", timeout=0)
    try:
        with lock:
            yield _study(task, make=make)
    except Timeout:
        raise StorageBusy(
            f"{path}: another process writes to it, and SQLite allows one; wait for it, or give another --storage"
        ) from None
    except StorageInternalError as error:
        raise StorageError(f"{shown(task.storage)}: {one_line(error.__cause__ or error)}") from error


def read(task: Task) -> optuna.Study:
    """The task's study for reading. Raises StorageError where there is none yet."""
    path = file_of(task.storage)
    if path is not None and not path.exists():
        raise StorageError(f"{path}: nothing was tuned yet; leave out --show, --best and --plots to start")
    try:
        return _study(task, make=False)
    except KeyError:
        names = ", ".join(optuna.get_all_study_names(_storage(task.storage))) or "none"
        raise StorageError(
            f"{shown(task.storage)}: has no study {task.study_name!r}; it has {names}; see --at and --sampler-seed"
        ) from None


def every(storage: str) -> list[optuna.Study]:
    """All studies in a storage for reading, by name; empty where the file does not exist. Raises StorageError."""
    path = file_of(storage)
    if path is not None and not path.exists():
        return []
    tables = _storage(storage)
    return [optuna.load_study(storage=tables, study_name=name) for name in sorted(optuna.get_all_study_names(tables))]


def _study(task: Task, *, make: bool) -> optuna.Study:
    storage = _storage(task.storage)
    chosen: dict[str, Any] = {
        "study_name": task.study_name,
        "sampler": sampler(task.config, defaults(_config(task), task.config.space)),
        "pruner": pruner(task.config, next(iter(task.checkpoints), None)),
    }
    if not make:
        return optuna.load_study(storage=storage, **chosen)
    directions = [StudyDirection.MAXIMIZE] if task.mode == "at" else [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE]
    study = optuna.create_study(storage=storage, directions=directions, load_if_exists=True, **chosen)
    _check_same(study, task)
    return study


def _config(task: Task) -> ScanConfig:
    """The config of a scan with the fixed settings only."""
    return task.method.config(task.zoos[0][0].settings)


def _check_same(study: optuna.Study, task: Task) -> None:
    """Store everything that the study's values depend on, or raise where it differs from what is stored."""
    wanted = task.identity()
    stored = study.user_attrs.get(_IDENTITY)
    if stored is None:
        study.set_user_attr(_IDENTITY, wanted)
    elif canonical(stored) != canonical(wanted):
        differ = [
            name for name in wanted["tune"] if canonical(wanted["tune"][name]) != canonical(stored["tune"].get(name))
        ]
        what = ", ".join(f"tune.{name}" for name in differ) or "victims or settings"
        raise ConfigError(
            f"study {study.study_name!r} was started with other {what}; rename the study, or give another --storage"
        )


def _storage(url: str) -> RDBStorage:
    """Raises StorageError."""
    wait = {"connect_args": {"timeout": _PATIENCE}} if file_of(url) is not None else {}
    try:
        return RDBStorage(url, engine_kwargs=wait)
    except ImportError as error:
        raise StorageError(f"{shown(url)}: {error}; pip install 'b3d-simkit[postgres]'") from error
    except Exception as error:  # database drivers raise errors of their own types
        raise StorageError(f"{shown(url)}: {one_line(error)}; see --storage") from error
