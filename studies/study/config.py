"""What a study file may say; `complaints` tells what it must not, `file` finds what it names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from oracles.errors import InvalidSpec
from oracles.spec import OracleSpec
from simkit.zoo.spec import ZooSplit
from studies.study.config_errors import likely
from studies.study.executors import PROCESSES
from studies.study.tune_config import TuneConfig

Queries = Annotated[int, Field(strict=True, ge=1, le=2**63 - 1)]
Seed = Annotated[int, Field(strict=True, ge=0, le=2**63 - 1)]
Path = Annotated[str, Field(min_length=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]

_STRICT = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

SET_ELSEWHERE: Mapping[str, str] = {
    **{"data": "data of the zoo", "image_size": "the zoo", "image_shape": "the zoo", "preset": "name of the detector"},
    **{"budget": "budget", "oracle": "services", "seed": "seeds"},
}
"""Fields of `ScanConfig` that no table of settings may hold, and what says them."""


class ZooEntry(BaseModel):
    """A zoo whose victims are scanned.

    folder: of the zoo, relative to the study file. data: the images, as of `simkit scan --data`, a path relative to the
    study file; None for those the zoo was made from. indices: only these victims, as `0-19,25`. limit: only the first
    so many victims, by index.
    """

    model_config = _STRICT

    folder: Path
    data: Path | None = None
    indices: str | None = None
    limit: Annotated[int, Field(strict=True, ge=1)] | None = None


class DetectorEntry(BaseModel):
    """A detector that scans every victim of every zoo.

    name: as of `simkit study scan --detector`: see `simkit detectors`, or your own as module:NAME. services: names of
    those it is tried behind; None for all of the file. settings: as with `--set`, over those of the file, for example
    `{search = {samples = 50}}`. budget: queries that each of its scans may spend; None for the budget of the file.
    """

    model_config = _STRICT

    name: Annotated[str, Field(min_length=1)]
    services: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None
    settings: dict[str, Any] = {}
    budget: Queries | None = None


class WorkersEntry(BaseModel):
    """Who scans.

    processes: that scan at once on this machine; a Dask cluster has its own number. threads: of torch in each; part of
    what a run is known by, so another number is another run. executor: `processes`, or `dask://HOST:PORT`, where the
    scheduler of a Dask cluster listens.
    """

    model_config = _STRICT

    processes: Annotated[int, Field(strict=True, ge=1, le=4096)] = 1
    threads: Annotated[int, Field(strict=True, ge=1, le=1024)] = 1
    executor: Annotated[str, Field(pattern=r"^(processes|dask://.+:\d+)$")] = PROCESSES


class ReportEntry(BaseModel):
    """What is made of the results.

    price_per_thousand: of queries, in any money; None for that of each service, where it has one. folder: that reports
    are written to, relative to the study file.
    """

    model_config = _STRICT

    price_per_thousand: Annotated[float, Field(strict=True, ge=0.0, le=1e9)] | None = None
    folder: Path = "report"


class StudyConfig(BaseModel):
    """A study, as its file says it.

    name: letters, digits, dots, - and _. split: of every zoo; settings are chosen on `tune`, thresholds on `calibrate`,
    figures quoted on `report`, and no study mixes them. seed: of everything drawn. seeds: of images and search; every
    scan is repeated with each, and none given means `seed` alone. zoos: whose victims are scanned. services: what they
    answer through, by name; none given means `scores`, which tells every score exactly. detectors: that scan them; none
    only where something is tuned. settings: of every scan, as with `--set`, for example `{search_images = 64}`. budget:
    queries that each scan may spend. budgets: at which curves are tabulated; none for round ones. workers: who scans.
    report: what is made of the results. tune: what is tuned, on a `tune` split. results: the file of lines, one a scan,
    relative to the study file. ledgers: the folder of ledgers, one a scan, relative to the study file.
    """

    model_config = _STRICT

    name: Name
    split: ZooSplit
    seed: Seed = 0
    seeds: tuple[Seed, ...] = ()
    budget: Queries = 300_000
    budgets: tuple[Queries, ...] = ()
    results: Path = "results.jsonl"
    ledgers: Path = "ledgers"
    settings: dict[str, Any] = {}
    zoos: Annotated[tuple[ZooEntry, ...], Field(min_length=1)]
    services: Annotated[dict[Name, OracleSpec], Field(min_length=1)] = {"scores": OracleSpec()}
    detectors: tuple[DetectorEntry, ...] = ()
    workers: WorkersEntry = WorkersEntry()
    report: ReportEntry = ReportEntry()
    tune: TuneConfig | None = None

    @field_validator("services", mode="before")
    @classmethod
    def _specs(cls, given: object) -> object:
        """A spec complains by itself, so that the service is named here."""
        return {name: _spec(name, fields) for name, fields in given.items()} if isinstance(given, Mapping) else given

    @field_validator("settings")
    @classmethod
    def _not_elsewhere(cls, given: dict[str, Any]) -> dict[str, Any]:
        _check_settings(given)
        return given

    @field_validator("tune")
    @classmethod
    def _tunes_settings(cls, given: TuneConfig | None) -> TuneConfig | None:
        if given is not None:
            _check_settings(given.settings)
            _check_settings({name.partition(".")[0]: None for name in given.space})
        return given

    @field_validator("detectors")
    @classmethod
    def _each_once(cls, entries: tuple[DetectorEntry, ...]) -> tuple[DetectorEntry, ...]:
        for number, entry in enumerate(entries):
            _check_settings(entry.settings)
            if entry in entries[:number]:
                raise ValueError(f"{entry.name} stands there twice, with the same settings; leave one out")
        return entries

    @field_validator("seeds", "budgets")
    @classmethod
    def _different(cls, values: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        if len(set(values)) < len(values):
            raise ValueError("give each value once")
        if not values:
            raise ValueError("is empty; give one or more, or leave it out")
        return tuple(sorted(values)) if info.field_name == "budgets" else values

    @model_validator(mode="after")
    def _agrees(self) -> StudyConfig:
        if not self.detectors and self.tune is None:
            raise ValueError("no [[detectors]] and no [tune], so that nothing is to be done; name a detector")
        for entry in self.detectors:
            _check_service(entry.name, entry.services or (), self.services)
        if self.tune is not None:
            _check_service("tune", filter(None, (self.tune.service,)), self.services)
            if self.split != "tune":
                raise ValueError(f"[tune] needs split = 'tune', and this is {self.split!r}; tune in a file of its own")
        most = max([self.budget, *(entry.budget or 0 for entry in self.detectors)])
        if self.budgets and self.budgets[-1] > most:
            raise ValueError(f"budgets: {self.budgets[-1]} is beyond every budget, at most {most}; raise budget")
        return self

    @property
    def repeats(self) -> tuple[int, ...]:
        """The seeds that every scan is made with."""
        return self.seeds or (self.seed,)


def _spec(name: object, fields: object) -> object:
    if not isinstance(fields, Mapping):
        return fields
    if unknown := [field for field in fields if field not in OracleSpec.model_fields]:
        raise ValueError(f"{name} has no key {unknown[0]!r}{likely(str(unknown[0]), list(OracleSpec.model_fields))}")
    try:
        return OracleSpec(**fields)
    except InvalidSpec as error:
        raise ValueError(f"{name}: {str(error).removeprefix('oracle spec: ')}") from None


def _check_settings(given: Mapping[str, Any]) -> None:
    if set_elsewhere := SET_ELSEWHERE.keys() & given.keys():
        name = min(set_elsewhere)
        raise ValueError(f"{name} is no setting here; {SET_ELSEWHERE[name]} says it")


def _check_service(who: str, wanted: Any, known: Mapping[str, OracleSpec]) -> None:
    for name in wanted:
        if name not in known:
            raise ValueError(f"{who}: there is no service {name!r}; the file has {', '.join(known)}")
