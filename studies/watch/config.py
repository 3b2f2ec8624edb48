"""What a study of detectors of probing compares: traffic, dodges, detectors, actions and thresholds."""

from __future__ import annotations

import os
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from oracles.dodge import Dodge
from oracles.errors import likely
from oracles.outside import RESULTS_BYTES, read_outside
from oracles.watch.settings import DETECTORS, WatchSpec
from simkit.errors import ConfigError, complaint
from studies.watch.clients import CLIENTS

Thresholds: TypeAlias = Literal["default", "calibrated"]

DODGES: dict[str, Dodge] = {
    "plain": Dodge(),
    "keys": Dodge(keys=8),
    "honest": Dodge(honest=4.0),
    "noise": Dodge(noise_std=0.03),
    "all": Dodge(keys=8, honest=1.0, noise_std=0.03),
}
"""Ways to dodge by name. Our own choice."""


class WatchStudy(BaseModel):
    """A study of detectors of probing. Raises ConfigError."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    probers: tuple[str, ...] = Field(("auto", "b3d", "random-patch"), description="Presets of `simkit scan`.")
    dodges: tuple[str, ...] = Field(tuple(DODGES), description="How the probers dodge.")
    clients: tuple[str, ...] = Field(tuple(CLIENTS), description="Honest clients.")
    detectors: tuple[str, ...] = Field(tuple(DETECTORS), description="Detectors of probing.")
    actions: tuple[str, ...] = Field(("log", "ban"), description="What follows an alarm.")
    thresholds: tuple[Thresholds, ...] = Field(("default", "calibrated"), description="Where thresholds come from.")
    budget: Annotated[int, Field(ge=1)] = Field(5_000, description="Queries of a prober, honest ones included.")
    honest_queries: Annotated[int, Field(ge=1)] = Field(1_000, description="Queries of an honest client.")
    seed: Annotated[int, Field(ge=0)] = Field(0, description="Seed of the scans and clients.")

    @classmethod
    def of(cls, fields: dict[str, Any]) -> WatchStudy:
        """From plain values."""
        try:
            study = cls(**fields)
        except ValidationError as error:
            raise ConfigError(f"watch: {complaint(error, cls.model_fields)}") from None
        for given, known in ((study.dodges, DODGES), (study.clients, CLIENTS), (study.detectors, DETECTORS)):
            for name in given:
                if name not in known:
                    raise ConfigError(f"watch: unknown {name!r}{likely(name, known)}")
        for detector, action in product(study.detectors, study.actions):
            if (detector, action) != ("prada", "cached"):
                watch_spec(detector, action, None)
        return study


def watch_spec(detector: str, action: str, threshold: float | None) -> WatchSpec:
    """The table `watch` of a cell of the study; `slow` takes 10 s, `coarse` leaves one decimal. Raises ConfigError."""
    settings: dict[str, dict[str, Any]] = {"slow": {"seconds": 10.0}, "coarse": {"decimals": 1}}
    more = settings.get(action, {})
    try:
        return WatchSpec.model_validate({"detector": detector, "action": action, "threshold": threshold, **more})
    except ValidationError as error:
        raise ConfigError(
            f"watch: {detector} with action {action!r}: {complaint(error, WatchSpec.model_fields)}"
        ) from None


class WatchLine(BaseModel):
    """One prober or client under one detector and action, as a line of results."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    zoo: str = Field(description="Name of the zoo.")
    split: str = Field(description="Its split.")
    index: int = Field(description="Number of the victim.")
    model_hash: str = Field(description="SHA-256 of its weights.")
    truth: str = Field(description="Whether it has a backdoor.")
    traffic: str = Field(description="The prober or the honest client.")
    honest: bool = Field(description="Whether it is a client.")
    dodge: str = Field(description="How the prober dodges.")
    detector: str = Field(description="The detector of probing.")
    action: str = Field(description="What follows its alarms.")
    threshold: float = Field(description="A query with a score above this raises an alarm.")
    threshold_from: str = Field(description="`default` or `calibrated`.")
    budget: int = Field(description="Queries at most.")
    seed: int = Field(description="Seed of the traffic.")
    queries: int = Field(description="Queries charged, honest ones included.")
    honest_queries: int = Field(description="Honest images among them.")
    alarms: int = Field(description="Queries with an alarm.")
    first_alarm: int | None = Field(description="Queries until the first alarm, itself included.")
    verdict: str | None = Field(description="Of a prober.")
    stopped: str | None = Field(description="Why its search ended.")
    target_found: bool | None = Field(description="Whether a prober flagged a true target class.")

    @property
    def unit(self) -> tuple[Any, ...]:
        """What is done once."""
        return (
            *(self.model_hash, self.traffic, self.dodge, self.detector, self.action, self.threshold_from),
            *(self.threshold, self.budget, self.seed),
        )


def read_lines(path: Path) -> list[WatchLine]:
    """The lines of a file of results, an unfinished last one left out; none without a file. Raises ConfigError."""
    if not path.exists():
        return []
    whole, _, _ = read_outside(path, RESULTS_BYTES, growing=True).data.decode(errors="replace").rpartition("\n")
    try:
        return [WatchLine.model_validate_json(line) for line in whole.splitlines()]
    except (ValidationError, ValueError) as error:
        raise ConfigError(f"{path}: no file of lines of this study; name another one") from error


def append_line(path: Path, line: WatchLine) -> None:
    """Append a line and sync the file; an unfinished last line is dropped."""
    with FileLock(path.with_name(f"{path.name}.lock")), path.open("a+b") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        file.write(f"{line.model_dump_json()}\n".encode())
        file.flush()
        os.fsync(file.fileno())
