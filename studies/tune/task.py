"""One Optuna study as plain data: the scans of every trial, their budget, and where everything is stored."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from simkit.zoo.manifest import Victim
from studies.study.detectors import Method, method
from studies.study.tune_config import TuneConfig
from studies.study.unit import Study

Mode: TypeAlias = Literal["at", "pareto"]
"""`at`: maximise AUROC at the budget, with pruning. `pareto`: trade AUROC against queries, without pruning."""

_CHANGES_NO_TRIAL = {"trials", "storage", "workers"}


@dataclass(frozen=True)
class Task:
    """A tuning task, as plain data that is sent to other processes.

    name: that of the study file. budget: query budget per scan. zoos: the victims that each trial scans, for every zoo
    and seed, with the settings that no trial changes. root: the folder that holds a folder per Optuna study. storage:
    URL of Optuna's tables. service: the service's name in the study file. threads: torch threads per process.
    new_run: see `studies.study.unit.Unit`.
    """

    name: str
    mode: Mode
    budget: int
    config: TuneConfig
    zoos: tuple[tuple[Study, tuple[Victim, ...]], ...]
    root: Path
    storage: str
    service: str
    threads: int = 1
    new_run: bool = False

    @property
    def study_name(self) -> str:
        """The study's name in Optuna; another mode, budget or sampler seed is another study in the same storage."""
        return f"{self.name}-{self.mode}-{self.budget}-seed-{self.config.seed}"

    @property
    def folder(self) -> Path:
        """The folder of the trials' ledgers and result lines."""
        return self.root / self.study_name

    @property
    def method(self) -> Method:
        """The tuned detector. Raises ConfigError for an unknown name."""
        return method(self.config.detector)

    @property
    def checkpoints(self) -> tuple[int, ...]:
        """Queries per victim at which a trial may be pruned; empty for two objectives."""
        if self.mode == "pareto" or self.config.pruner == "none":
            return ()
        return tuple(sorted({max(1, round(share * self.budget)) for share in self.config.checkpoints}))

    def stem(self, number: int) -> str:
        """The name of a trial's files, without suffix."""
        return f"trial-{number:04d}"

    def identity(self) -> dict[str, Any]:
        """Everything that a trial's values depend on, as plain values for JSON."""
        scans = [
            [study.name, study.split, victim.index, victim.sha256, _without_places(study.settings_of(victim))]
            for study, victims in self.zoos
            for victim in victims
        ]
        own = self.config.model_dump(mode="json", exclude=_CHANGES_NO_TRIAL)
        return {"mode": self.mode, "budget": self.budget, "tune": own, "scans": scans}


def _without_places(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without paths, since a folder may be moved; each ledger identifies its images by their hash."""
    oracle = settings.get("oracle")
    plain = {name: value for name, value in settings.items() if name not in ("data", "oracle")}
    return plain | ({} if oracle is None else {"oracle": oracle.to_json()})


def trial_number(path: Path) -> int | None:
    """The number of the trial that a ledger or a file of lines belongs to; None for another file."""
    match = re.fullmatch(r"trial-(\d+)", path.stem)
    return None if match is None else int(match[1])
