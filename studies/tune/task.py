"""One Optuna study as plain data: what is scanned in every trial, under which cap, and where it is kept."""

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
"""`at`: the best AUROC at the budget, hopeless trials pruned. `pareto`: AUROC against queries, nothing pruned."""

_CHANGES_NO_TRIAL = {"trials", "storage", "workers"}


@dataclass(frozen=True)
class Task:
    """What the processes that tune are told. Plain data: it is sent to them.

    name: of the study file. budget: queries that each scan may spend. zoos: the victims that each trial scans, of every
    zoo and with every seed; the studies hold the settings that no trial changes. root: where each Optuna study has a
    folder. storage: URL of Optuna's tables. service: what the study file calls the one that is asked. threads: of torch
    in each process.
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

    @property
    def study_name(self) -> str:
        """What Optuna calls it: another mode, budget or sampler seed is another study in the same storage."""
        return f"{self.name}-{self.mode}-{self.budget}-seed-{self.config.seed}"

    @property
    def folder(self) -> Path:
        """Where each trial has its ledger and its lines."""
        return self.root / self.study_name

    @property
    def method(self) -> Method:
        """The detector that is tuned. Raises ConfigError if there is none of that name."""
        return method(self.config.detector)

    @property
    def checkpoints(self) -> tuple[int, ...]:
        """Queries a victim at which a trial may be pruned; none where there are two objectives."""
        if self.mode == "pareto" or self.config.pruner == "none":
            return ()
        return tuple(sorted({max(1, round(share * self.budget)) for share in self.config.checkpoints}))

    def stem(self, number: int) -> str:
        """What the files of trial `number` are called."""
        return f"trial-{number:04d}"

    def identity(self) -> dict[str, Any]:
        """All that a trial's values depend on, as plain values for JSON."""
        scans = [
            [study.name, study.split, victim.index, victim.sha256, _without_places(study.settings)]
            for study, victims in self.zoos
            for victim in victims
        ]
        own = self.config.model_dump(mode="json", exclude=_CHANGES_NO_TRIAL)
        return {"mode": self.mode, "budget": self.budget, "tune": own, "scans": scans}


def _without_places(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A folder may be moved; its images are known by their own hash in each ledger."""
    oracle = settings.get("oracle")
    plain = {name: value for name, value in settings.items() if name not in ("data", "oracle")}
    return plain | ({} if oracle is None else {"oracle": oracle.to_json()})


def trial_number(path: Path) -> int | None:
    """The number of the trial whose ledger or lines this is; None for another file."""
    match = re.fullmatch(r"trial-(\d+)", path.stem)
    return None if match is None else int(match[1])
