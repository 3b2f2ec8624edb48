"""Makes the task of an Optuna study from a study file, and checks everything possible before any query."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from oracles.errors import InvalidSpec
from simkit.detectors.registry import DETECTORS
from simkit.errors import ConfigError
from simkit.search.presets import Preset, preset
from simkit.zoo.manifest import Victim
from studies.study.grid import over
from studies.study.study_file import StudyFile
from studies.study.tune_config import TuneConfig
from studies.study.unit import Study
from studies.study.zoos import Zoo
from studies.tune.space import check_space
from studies.tune.storage import check_processes, placed
from studies.tune.task import Mode, Task


def task_of(file: StudyFile, mode: Mode, budget: int | None = None, changes: Mapping[str, Any] | None = None) -> Task:
    """The tuning task of a study file.

    budget: queries per scan; None for that of the file. changes: fields that replace those of the `[tune]` table; a
    storage path among them is relative to the working folder, that of the file to the file. Raises ConfigError without
    a `[tune]` table, and for another split than `tune`, victims of one kind only, a detector that is no preset of one
    stage, an unknown setting, or several workers on SQLite.
    """
    config = _config(file, dict(changes or {}))
    try:
        storage = storage_of(file, (changes or {}).get("storage"))
        check_processes(storage, config.workers)
        asked = file.config.budget if budget is None else budget
        if asked > file.config.budget:
            raise ConfigError(f"--at {asked} exceeds the budget of the file, {file.config.budget}; raise that")
        zoos = tuple(_scans(file, config, zoo, seed, asked) for seed in file.config.repeats for zoo in file.zoos)
        threads = file.config.workers.threads
        # apart from the ledgers of scans, since trials are no results
        service, root = _service(file, config), file.results.parent / "tune"
        task = Task(file.config.name, mode, asked, config, zoos, root, storage, service, threads)
        _check(task)
    except (ConfigError, InvalidSpec) as error:
        raise ConfigError(f"{file.path.name}: {str(error).removeprefix('scan: ')}") from error
    return task


def storage_of(file: StudyFile, storage: str | None = None) -> str:
    """The URL of Optuna's tables. storage: as given on the command line, None for that of the file.

    Raises ConfigError.
    """
    url = _config(file, {}).storage if storage is None else storage
    beside = file.path.parent if storage is None else Path.cwd()
    return placed(url, beside, file.results.parent / f"{file.config.name}-optuna.db")


def _config(file: StudyFile, changes: dict[str, Any]) -> TuneConfig:
    """The `[tune]` table with the changes applied."""
    if file.config.tune is None:
        raise ConfigError(f"{file.path.name}: has no [tune] table; an empty one tunes lambda, sigma and k of B3D")
    return file.config.tune.model_copy(update=changes)


def _scans(file: StudyFile, config: TuneConfig, zoo: Zoo, seed: int, budget: int) -> tuple[Study, tuple[Victim, ...]]:
    service = file.config.services[_service(file, config)]
    shared = zoo.settings() | {"budget": budget, "seed": seed, "oracle": service}
    settings = shared | over(file.config.settings, config.settings)
    spec = zoo.manifest.spec
    where = zoo.folder, spec.name, spec.split, file.results, file.ledgers
    return Study(*where, settings, same_images=file.config.same_images), zoo.victims


def _service(file: StudyFile, config: TuneConfig) -> str:
    return config.service or next(iter(file.config.services))


def _check(task: Task) -> None:
    _check_detector(task.config.detector, task.method.preset)
    victims = [victim for _, of_zoo in task.zoos for victim in of_zoo]
    if len({victim.truth for victim in victims}) < 2:
        kind = victims[0].truth
        raise ConfigError(f"all {len(victims)} victims are {kind}; AUROC needs clean and backdoored ones")
    if split := next((study.split for study, _ in task.zoos if study.split != "tune"), None):
        raise ConfigError(f"settings are chosen on split 'tune', but a zoo is of split {split!r}")
    for settings in (study.settings for study, _ in task.zoos):
        task.method.config(settings)
        check_space(task.method, settings, task.config.space)


def _check_detector(name: str, tuned: str | Preset | None) -> None:
    """Require a preset of one stage, since the scores of several stages cannot be ranked together."""
    if tuned is None:
        raise ConfigError(f"[tune] {name} is no search with settings; name a preset, see simkit detectors")
    if (preset(tuned) if isinstance(tuned, str) else tuned).then is not None:
        single = ", ".join(other.name for other in DETECTORS.values() if other.preset and not other.staged)
        raise ConfigError(f"[tune] {name} has stages, whose scores do not compare; name a preset of one: {single}")
