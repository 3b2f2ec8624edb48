"""The grid of a study (each detector, service, zoo and seed), and which of its scans are left."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from oracles.errors import InvalidSpec
from simkit.errors import ConfigError
from simkit.zoo.manifest import Victim
from studies.scan.overrides import leaves
from studies.study.config import DetectorEntry, StudyConfig
from studies.study.detectors import Method, method
from studies.study.image_hashes import ImageHashes
from studies.study.plan import done_of, units_of
from studies.study.result_line import ResultLine
from studies.study.unit import Study, Unit, UnitKey
from studies.study.zoos import Zoo

NO_SERVICE = "weights"
"""The name in place of a service for a white-box detector."""


@dataclass(frozen=True)
class Places:
    """The file of result lines and the folder of ledgers, which all scans of a study share."""

    results: Path
    ledgers: Path


@dataclass(frozen=True, eq=False)
class Cell:
    """One detector (by its name in the study) with one service and one seed, on the victims of one zoo."""

    detector: str
    service: str
    seed: int
    method: Method
    victims: tuple[Victim, ...]
    study: Study


@dataclass(frozen=True, eq=False)
class Part:
    """The units of a cell, and the result lines of those that are done."""

    cell: Cell
    units: tuple[Unit, ...]
    done: tuple[ResultLine, ...]

    @property
    def todo(self) -> tuple[Unit, ...]:
        """The units that are left."""
        done = {line.unit for line in self.done}
        return tuple(unit for unit in self.units if unit.key not in done)


@dataclass(frozen=True, eq=False)
class StudyPlan:
    """All cells with their remaining units; no unit is in two of them."""

    parts: tuple[Part, ...]
    results: Path

    @property
    def todo(self) -> tuple[Unit, ...]:
        """The units that are left, ordered by seed, zoo and victim."""
        ranked = [(part.cell.seed, i, unit) for i, part in enumerate(self.parts) for unit in part.todo]
        seeds = list(dict.fromkeys(part.cell.seed for part in self.parts))
        zoos = list(dict.fromkeys(part.cell.study.zoo for part in self.parts))
        ranked.sort(key=lambda r: (seeds.index(r[0]), zoos.index(r[2].study.zoo), r[2].victim.index, r[1]))
        return tuple(unit for _, _, unit in ranked)

    @property
    def lines(self) -> tuple[ResultLine, ...]:
        """The result lines of this study."""
        return tuple(line for part in self.parts for line in part.done)

    @property
    def cells(self) -> Mapping[UnitKey, Cell]:
        """The cell of each unit."""
        return {unit.key: part.cell for part in self.parts for unit in part.units}

    def now(self) -> StudyPlan:
        """The plan with the result lines written since. Raises ConfigError, DataError, StorageError."""
        done = done_of([unit for part in self.parts for unit in part.units], self.results)
        lines = {part: tuple(done[unit.key] for unit in part.units if unit.key in done) for part in self.parts}
        return replace(self, parts=tuple(replace(part, done=own) for part, own in lines.items()))


def cells_of(config: StudyConfig, zoos: Sequence[Zoo], places: Places) -> tuple[Cell, ...]:
    """All cells, with their settings checked. Raises ConfigError."""
    named = _named(config.detectors)
    return tuple(
        cell
        for seed in config.repeats
        for zoo in zoos
        for title, entry in named.items()
        for cell in _cells(config, zoo, places, (title, entry, seed))
    )


def plan_of(cells: Sequence[Cell], results: Path) -> StudyPlan:
    """The plan of these cells; a unit that is in two of them belongs to the first."""
    images, taken, parts = ImageHashes(), set[UnitKey](), []
    for cell in cells:
        units = units_of(cell.study, cell.victims, [cell.method], images)
        own = tuple(unit for unit in units if unit.key not in taken)
        taken |= {unit.key for unit in own}
        parts.append(Part(cell, own, ()))
    return StudyPlan(tuple(parts), results).now()


def _named(entries: Sequence[DetectorEntry]) -> dict[str, DetectorEntry]:
    """The entries by name, or by name and settings where several share a name."""
    names = [entry.name for entry in entries]
    return {e.name if names.count(e.name) == 1 else f"{e.name} {_differs(e)}".rstrip(): e for e in entries}


def _differs(entry: DetectorEntry) -> str:
    settings = [f"{name}={value}" for name, value in leaves(entry.settings)]
    settings += [] if entry.budget is None else [f"budget={entry.budget}"]
    return " ".join([*settings, *(entry.services or ())])


def _cells(config: StudyConfig, zoo: Zoo, places: Places, of: tuple[str, DetectorEntry, int]) -> Iterator[Cell]:
    title, entry, seed = of
    try:
        chosen, spec = method(entry.name), zoo.manifest.spec
        for name in [NO_SERVICE] if chosen.white_box else (entry.services or config.services):
            settings = _settings(config, zoo, entry, name) | {"seed": seed}
            chosen.config(settings)
            if chosen.white_box and zoo.served is not None:
                raise ConfigError(f"needs weights, but zoo {spec.name} is served; leave one of them out")
            where = zoo.folder, spec.name, spec.split, places.results, places.ledgers
            study = Study(*where, settings, zoo.served, config.same_images)
            yield Cell(title, name, seed, chosen, zoo.victims, study)
    except (ConfigError, InvalidSpec) as error:
        raise ConfigError(f"detectors[{entry.name}]: {str(error).removeprefix('scan: ')}") from error


def _settings(config: StudyConfig, zoo: Zoo, entry: DetectorEntry, service: str) -> dict[str, Any]:
    """The fields of `ScanConfig` without the seed; an entry's settings replace those of the study."""
    settings = zoo.settings() | {"budget": entry.budget or config.budget}
    if service in config.services:
        settings["oracle"] = config.services[service]
    return settings | over(config.settings, entry.settings)


def over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """The settings `below`, replaced by those of `above`, also inside nested tables."""
    merged = dict(below)
    for name, value in above.items():
        old = merged.get(name)
        merged[name] = over(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


@dataclass(frozen=True)
class GridRow:
    """A row of the grid. seeds: number of seeds. right: correct verdicts. queries: median of finished scans."""

    zoo: str
    detector: str
    service: str
    seeds: int
    done: int
    left: int
    right: int
    queries: int | None


def grid_rows(plan: StudyPlan) -> list[GridRow]:
    """One row per detector, service and zoo, in the order of the file, summed over seeds."""
    groups: dict[tuple[str, str, str], list[Part]] = defaultdict(list)
    for part in plan.parts:
        groups[part.cell.study.name, part.cell.detector, part.cell.service].append(part)
    return [_grid_row(*names, parts) for names, parts in groups.items()]


def _grid_row(zoo: str, detector: str, service: str, parts: list[Part]) -> GridRow:
    lines = [line for part in parts for line in part.done]
    left = sum(len(part.todo) for part in parts)
    queries = int(statistics.median(line.queries for line in lines)) if lines else None
    right = sum(line.right for line in lines)
    return GridRow(zoo, detector, service, len({part.cell.seed for part in parts}), len(lines), left, right, queries)
