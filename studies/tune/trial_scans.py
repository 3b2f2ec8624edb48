"""All scans of one trial in one ledger; every scan reaches a checkpoint before any goes beyond it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from db.ledger import Ledger
from oracles.errors import InvalidSpec
from oracles.outside import OutsideFile
from simkit.errors import ConfigError
from simkit.search.images import ScanImages
from simkit.zoo.manifest import Victim, checked_weights
from studies.scan.canonical import canonical
from studies.scan.config import ScanConfig
from studies.scan.images import choose_images
from studies.scan.ledger_run import refuse_to_pay_again
from studies.scan.models import OpenedModel, open_model
from studies.scan.prepare import Prepared, shaped
from studies.scan.result import result_of
from studies.scan.run import OpenScan
from studies.study.plan import config_hash
from studies.study.result_line import ResultLine
from studies.study.tune_config import Value
from studies.study.unit import Unit, line_of
from studies.tune.space import with_values
from studies.tune.task import Task


class _Scan:
    """The scan of one victim, advanced on demand."""

    def __init__(self, unit: Unit, config: ScanConfig, lineup: PreparedVictims, ledger: Ledger) -> None:
        prepared = lineup.prepared(unit, config)
        self.victim = unit.victim
        self._unit = replace(unit, data_hash=prepared.images.sha256)
        self._ledger = ledger
        self._info = prepared.info
        if not unit.new_run:
            refuse_to_pay_again(ledger.path, self._info)
        self._scan = OpenScan(prepared, ledger)
        self._steps = self._scan.steps()
        self._queries = 0

    @property
    def score(self) -> float | None:
        return self._scan.score

    def reach(self, queries: int | None) -> None:
        """Advance until `queries` were sent or there is a verdict; None means until there is a verdict."""
        while self._scan.verdict is None and (queries is None or self._queries < queries):
            self._queries = next(self._steps).queries

    def line(self) -> ResultLine | None:
        """The result line, None while there is no verdict."""
        if self._scan.verdict is None:
            return None
        return line_of(self._unit, result_of(self._scan.run, self._ledger, self._info), "")


class TrialScans:
    """The scans of a task with the values of one trial.

    A scan with a verdict in the ledger is not repeated, and an interrupted one is resumed. Raises ConfigError and
    InvalidSpec where the values exclude each other, before any query; PaidElsewhere; DataError, ModelError,
    StorageError.
    """

    def __init__(self, task: Task, values: Mapping[str, Value], lineup: PreparedVictims, ledger: Ledger) -> None:
        self._scans = [_Scan(unit, config, lineup, ledger) for unit, config in list(_units(task, values))]

    def __len__(self) -> int:
        return len(self._scans)

    def reach(self, queries: int | None) -> Iterator[int]:
        """Advance every scan to `queries` or its verdict, and yield the number of advanced scans after each."""
        for count, scan in enumerate(self._scans, start=1):
            scan.reach(queries)
            yield count

    @property
    def scored(self) -> list[tuple[Victim, float | None]]:
        """Each victim with its score: that of the verdict, else that of the rule for the triggers so far."""
        return [(scan.victim, scan.score) for scan in self._scans]

    def lines(self) -> list[ResultLine]:
        """The result line of each scan that has a verdict."""
        return [line for scan in self._scans if (line := scan.line()) is not None]


def _units(task: Task, values: Mapping[str, Value]) -> Iterator[tuple[Unit, ScanConfig]]:
    """Each victim as a unit with the trial's values in its settings, and its config; images are not loaded yet."""
    for study, victims in task.zoos:
        own = replace(study, settings=with_values(study.settings, values))
        try:
            hashed = config_hash(own, task.method)
        except InvalidSpec as error:
            raise ConfigError(str(error)) from error
        for victim in victims:
            unit = Unit(own, victim, task.config.detector, hashed, "", task.new_run)
            yield unit, task.method.config(unit.settings)


_OF_A_TRIAL = {"search", "driver", "rule", "preset", "budget", "oracle", "restriction", "synthesis", "refine"}
"""Settings that may differ between two scans with the same images and the same model."""

_KEPT = 64
"""Maximum number of cached image sets, more than a study of victims and seeds has."""


class PreparedVictims:
    """Prepares scans, and caches models and images for later scans in the same process."""

    def __init__(self) -> None:
        self._images: dict[str, ScanImages] = {}
        self._models: dict[tuple[Path, str], OpenedModel] = {}

    def prepared(self, unit: Unit, config: ScanConfig) -> Prepared:
        """The prepared scan of the unit's victim with `config`.

        Raises ConfigError, DataError, ModelError, as `studies.scan.prepare.prepare` does.
        """
        path = unit.study.zoo / str(unit.victim.file)
        weights: OutsideFile | None = None
        if config.resolved().synthesis is not None:
            weights = checked_weights(unit.study.zoo, unit.victim)
            config, _ = shaped(config, weights)
        images = self._chosen(config)
        key = path, canonical(config.model_dump(mode="json", exclude=_OF_A_TRIAL))
        if key not in self._models:
            weights = weights or checked_weights(unit.study.zoo, unit.victim)
            self._models[key] = open_model(weights, images.search, config)
        prepared = Prepared(self._models[key], images, config)
        for stage in prepared.preset.stages:
            prepared.search(images.search, stage)
        return prepared

    def _chosen(self, config: ScanConfig) -> ScanImages:
        made: Any = config.resolved().synthesis
        key = canonical([config.model_dump(mode="json", exclude=_OF_A_TRIAL), None if made is None else repr(made)])
        if key not in self._images:
            if len(self._images) >= _KEPT:
                self._images.clear()
            self._images[key] = choose_images(config, None)
        return self._images[key]
