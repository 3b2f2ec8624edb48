"""The tables and keys of a study file; `config_errors` words what is wrong with one, `study_file` loads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from oracles.errors import InvalidSpec, likely
from oracles.spec import CURRENCY, OracleSpec
from simkit.zoo.spec import ZooSplit
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
"""Fields of `ScanConfig` that a table of settings may not hold, each with the key that sets it instead."""


class ZooEntry(BaseModel):
    """A zoo whose victims are scanned."""

    model_config = _STRICT

    folder: Path = Field(description="The zoo's folder, relative to the study file.")
    data: Path | None = Field(
        default=None,
        description="The images, as in `simkit scan --data`, with a path relative to the study file; by default those"
        " that the zoo was made from.",
    )
    served: Annotated[str, Field(pattern=r"\{index\}")] | None = Field(
        default=None,
        description="The name of the service that answers for each victim in place of its file, with `{index}` for its"
        " number, such as `https://HOST/v2/models/demo-{index}`. The settings `{remote = {key_env = 'VAR'}}` say where"
        " each worker finds the key.",
    )
    indices: str | None = Field(default=None, description="Scan only these victims, by index, such as `0-19,25`.")
    limit: Annotated[int, Field(strict=True, ge=1)] | None = Field(
        default=None, description="Scan only this many victims, the first ones by index."
    )


class DetectorEntry(BaseModel):
    """A detector that scans every victim of every zoo."""

    model_config = _STRICT

    name: Annotated[str, Field(min_length=1)] = Field(
        description="A name from `simkit detectors`, or a user's own detector as `module:NAME`."
    )
    services: Annotated[tuple[Name, ...], Field(min_length=1)] | None = Field(
        default=None, description="Names of the services that it scans through; by default all of the file."
    )
    settings: dict[str, Any] = Field(
        default={},
        description="Settings as with `--set`, which replace those of the file, such as `{search = {samples = 50}}`.",
    )
    settings_file: Path | None = Field(
        default=None,
        exclude=True,  # what it holds is in the settings and the budget of the loaded entry
        description="A file of `simkit study tune --best`, relative to the study file, whose settings and budget apply"
        " where this entry sets no other; its preset must be `name`, and its service is not used.",
    )
    budget: Queries | None = Field(
        default=None, description="Query budget per scan; by default the budget of the file."
    )


class WorkersEntry(BaseModel):
    """The processes that scan."""

    model_config = _STRICT

    processes: Annotated[int, Field(strict=True, ge=1, le=4096)] = Field(
        default=1, description="Number of processes on this machine; a Dask cluster has its own number."
    )
    threads: Annotated[int, Field(strict=True, ge=1, le=1024)] = Field(
        default=1,
        description="Threads of torch per process. An interrupted scan goes on only with the number that it began with;"
        " with another it is refused until `--new-run`.",
    )
    executor: Annotated[str, Field(pattern=r"^(processes|dask://.+:\d+)$")] = Field(
        default=PROCESSES,
        description="`processes`, or `dask://HOST:PORT` for the scheduler of a Dask cluster.",
    )


class ReportEntry(BaseModel):
    """The report on the results."""

    model_config = _STRICT

    price_per_thousand: Annotated[float, Field(strict=True, ge=0.0, le=1e9)] | None = Field(
        default=None,
        description="Price of 1000 queries, shown only with its currency; by default what each service states.",
    )
    currency: Annotated[str, Field(strict=True, pattern=CURRENCY)] | None = Field(
        default=None, description="Currency of `price_per_thousand`, such as `USD`."
    )
    folder: Path = Field(
        default="report", description="The folder that reports are written to, relative to the study file."
    )

    @model_validator(mode="after")
    def _of_a_price(self) -> ReportEntry:
        if self.currency is not None and self.price_per_thousand is None:
            raise ValueError("currency is set without price_per_thousand; set that too, or neither")
        return self


class StudyConfig(BaseModel):
    """A study, as its file describes it."""

    model_config = _STRICT

    name: Name = Field(description="The study's name, of letters, digits, dots, `-` and `_`.")
    split: ZooSplit = Field(
        description="The split of every zoo. Settings are chosen on `tune`, thresholds on `calibrate`, and figures are"
        " quoted on `report`; a study never mixes them."
    )
    seed: Seed = Field(default=0, description="Seed of all random draws.")
    seeds: tuple[Seed, ...] = Field(
        default=(),
        description="Seeds of images and search; every scan is repeated with each of them. By default only `seed`.",
    )
    same_images: bool = Field(
        default=False,
        description="Whether every victim is scanned with that very seed, so with the same images. By default the seed"
        " of a scan follows from it and from the victim's, so that intervals hold the draw of images.",
    )
    budget: Queries = Field(default=300_000, description="Query budget per scan.")
    budgets: tuple[Queries, ...] = Field(
        default=(), description="The budgets at which curves are tabulated; by default round numbers."
    )
    results: Path = Field(
        default="results.jsonl", description="The file of result lines, one per scan, relative to the study file."
    )
    ledgers: Path = Field(
        default="ledgers", description="The folder of ledgers, one per scan, relative to the study file."
    )
    settings: dict[str, Any] = Field(
        default={}, description="Settings of every scan, as with `--set`, such as `{search_images = 64}`."
    )
    zoos: Annotated[tuple[ZooEntry, ...], Field(min_length=1)] = Field(
        description="The zoos whose victims are scanned."
    )
    services: Annotated[dict[Name, OracleSpec], Field(min_length=1)] = Field(
        default={"scores": OracleSpec()},
        description="The services that answer for the victims, by name; by default `scores`, which answers every score"
        " exactly.",
    )
    detectors: tuple[DetectorEntry, ...] = Field(
        default=(), description="The detectors that scan the victims; may be empty only where `tune` is set."
    )
    workers: WorkersEntry = Field(default=WorkersEntry(), description="The processes that scan.")
    report: ReportEntry = Field(default=ReportEntry(), description="The report on the results.")
    tune: TuneConfig | None = Field(default=None, description="The settings to tune; only for a study of split `tune`.")

    @field_validator("services", mode="before")
    @classmethod
    def _specs(cls, given: object) -> object:
        """Each service as a spec; its errors are raised here, so that they can name the service."""
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
                raise ValueError(f"{entry.name} is listed twice with the same settings; remove one of them")
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
            raise ValueError("neither [[detectors]] nor [tune] is set, so there is nothing to do; name a detector")
        for entry in self.detectors:
            _check_service(entry.name, entry.services or (), self.services)
        if self.tune is not None:
            _check_service("tune", filter(None, (self.tune.service,)), self.services)
            if any(zoo.served is not None for zoo in self.zoos):
                raise ValueError("[tune] runs the victims' files, so no zoo may have the key served; leave it out")
            if self.split != "tune":
                raise ValueError(f"[tune] needs split = 'tune', not {self.split!r}; use a study file of its own")
        most = max([self.budget, *(entry.budget or 0 for entry in self.detectors)])
        if self.budgets and self.budgets[-1] > most:
            raise ValueError(f"budgets: {self.budgets[-1]} exceeds the largest budget of {most}; raise budget")
        return self

    @property
    def repeats(self) -> tuple[int, ...]:
        """The seeds with which every scan is repeated."""
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
        raise ValueError(f"{name} cannot be set here; use {SET_ELSEWHERE[name]} instead")


def _check_service(user: str, wanted: Any, services: Mapping[str, OracleSpec]) -> None:
    for name in wanted:
        if name not in services:
            raise ValueError(f"{user}: there is no service {name!r}; the file has {', '.join(services)}")
