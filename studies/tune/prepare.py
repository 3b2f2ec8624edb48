"""From a study file to the task of one Optuna study, with everything checked that can be before a query."""

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
    """What is to be tuned. budget: queries a scan; None for that of the file. changes: fields of its `[tune]` table.

    A storage among the changes is a path as seen from the working folder, that of the file from the file's. Raises
    ConfigError in one line: no `[tune]` table, another split than `tune`, one kind of victims alone, a detector that
    is no preset of one stage, a setting that it has not, several workers on SQLite.
    """
    config = _config(file, dict(changes or {}))
    try:
        storage = storage_of(file, (changes or {}).get("storage"))
        check_processes(storage, config.workers)
        asked = file.config.budget if budget is None else budget
        if asked > file.config.budget:
            raise ConfigError(f"--at {asked} is beyond the budget of the file, {file.config.budget}; raise it there")
        zoos = tuple(_scans(file, config, zoo, seed, asked) for seed in file.config.repeats for zoo in file.zoos)
        threads = file.config.workers.threads
        # not among the ledgers of scans: those of trials are nobody's results
        service, root = _service(file, config), file.results.parent / "tune"
        task = Task(file.config.name, mode, asked, config, zoos, root, storage, service, threads)
        _check(task)
    except (ConfigError, InvalidSpec) as error:
        raise ConfigError(f"{file.path.name}: {str(error).removeprefix('scan: ')}") from error
    return task


def storage_of(file: StudyFile, storage: str | None = None) -> str:
    """The URL of a file's studies. storage: as given on the command line, None for that of the file.

    Raises ConfigError.
    """
    known = _config(file, {}).storage if storage is None else storage
    beside = file.path.parent if storage is None else Path.cwd()
    return placed(known, beside, file.results.parent / f"{file.config.name}-optuna.db")


def _config(file: StudyFile, changes: dict[str, Any]) -> TuneConfig:
    """The table with the changes."""
    if file.config.tune is None:
        raise ConfigError(f"{file.path.name}: has no [tune] table; an empty one tunes three settings of B3D")
    return file.config.tune.model_copy(update=changes)


def _scans(file: StudyFile, config: TuneConfig, zoo: Zoo, seed: int, budget: int) -> tuple[Study, tuple[Victim, ...]]:
    service = file.config.services[_service(file, config)]
    told = zoo.settings() | {"budget": budget, "seed": seed, "oracle": service}
    settings = told | over(file.config.settings, config.settings)
    spec = zoo.manifest.spec
    return Study(zoo.folder, spec.name, spec.split, file.results, file.ledgers, settings), zoo.victims


def _service(file: StudyFile, config: TuneConfig) -> str:
    return config.service or next(iter(file.config.services))


def _check(task: Task) -> None:
    _check_detector(task.config.detector, task.method.preset)
    victims = [victim for _, of_zoo in task.zoos for victim in of_zoo]
    if len({victim.truth for victim in victims}) < 2:
        kind = victims[0].truth
        raise ConfigError(f"all {len(victims)} victims are {kind}; AUROC needs clean and backdoored ones")
    if split := next((study.split for study, _ in task.zoos if study.split != "tune"), None):
        raise ConfigError(f"settings are chosen on split 'tune', and a zoo is of {split!r}")
    for settings in (study.settings for study, _ in task.zoos):
        task.method.config(settings)
        check_space(task.method, settings, task.config.space)


def _check_detector(name: str, known: str | Preset | None) -> None:
    """A preset of one stage: each stage has a score of its own, so that no two stages' scores can be ranked."""
    if known is None:
        raise ConfigError(f"[tune] {name} is no search with settings; name a preset, see simkit detectors")
    if (preset(known) if isinstance(known, str) else known).then is not None:
        single = ", ".join(other.name for other in DETECTORS.values() if other.preset and not other.staged)
        raise ConfigError(f"[tune] {name} has stages, whose scores do not compare; name a preset of one: {single}")
