"""All scans of one trial side by side, in one ledger: each goes on to a checkpoint before any goes beyond."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace

from db.ledger import Ledger
from oracles.errors import InvalidSpec
from simkit.errors import ConfigError
from simkit.zoo.manifest import Victim
from studies.identity import canonical, run_info
from studies.result_line import ResultLine
from studies.scan import result_of
from studies.scan_config import ScanConfig
from studies.tune.config import Value
from studies.tune.lineup import Lineup
from studies.tune.space import with_values
from studies.tune.task import Task
from studies.under_way import UnderWay
from studies.zoo_scan.unit import Unit, line_of


class _Scan:
    """One victim's scan, pulled as far as it is wanted."""

    def __init__(self, unit: Unit, config: ScanConfig, lineup: Lineup, ledger: Ledger) -> None:
        prepared, digest = lineup.prepared(unit, config)
        self.victim = unit.victim
        self._unit = replace(unit, data_hash=digest)
        self._ledger = ledger
        self._info = run_info(prepared.model, prepared.images, prepared.config)
        self._scan = UnderWay(prepared, ledger, self._info)
        self._steps = self._scan.steps()
        self._queries = 0

    @property
    def score(self) -> float | None:
        return self._scan.score

    def reach(self, queries: int | None) -> None:
        """Go on until `queries` are asked, or there is a verdict; None for the latter alone."""
        while self._scan.verdict is None and (queries is None or self._queries < queries):
            self._queries = next(self._steps).queries

    def line(self) -> ResultLine | None:
        """Its line of results, None while it has no verdict."""
        if self._scan.verdict is None:
            return None
        return line_of(self._unit, result_of(self._scan.run, self._ledger, self._info), "")


class TrialScans:
    """The scans of a task under the values of one trial.

    A scan that has its verdict in the ledger stays as it is, one that is broken off there goes on. Raises ConfigError,
    InvalidSpec where the values exclude each other, before anything is asked; DataError, ModelError, StorageError.
    """

    def __init__(self, task: Task, values: Mapping[str, Value], lineup: Lineup, ledger: Ledger) -> None:
        units = list(_units(task, values))
        self._scans = [_Scan(unit, config, lineup, ledger) for unit, config in units]

    def __len__(self) -> int:
        return len(self._scans)

    def reach(self, queries: int | None) -> Iterator[int]:
        """Every scan as far as `queries`, or its verdict; how many are there by now, after each."""
        for count, scan in enumerate(self._scans, start=1):
            scan.reach(queries)
            yield count

    @property
    def scored(self) -> list[tuple[Victim, float | None]]:
        """Each victim with its score so far: of the verdict, else what the rule says of the triggers by now."""
        return [(scan.victim, scan.score) for scan in self._scans]

    def lines(self) -> list[ResultLine]:
        """A line for each scan that has its verdict."""
        return [line for scan in self._scans if (line := scan.line()) is not None]


def _units(task: Task, values: Mapping[str, Value]) -> Iterator[tuple[Unit, ScanConfig]]:
    """Each victim as a unit whose settings have the trial's values, with its config; its images are not known yet."""
    for study, victims in task.zoos:
        settings = with_values(study.settings, values)
        try:
            config = task.method.config(settings)
        except InvalidSpec as error:
            raise ConfigError(str(error)) from error
        digest = hashlib.sha256(canonical(task.method.identity(config)).encode()).hexdigest()
        own = replace(study, settings=settings)
        yield from ((Unit(own, victim, task.config.detector, digest, ""), config) for victim in victims)
