"""Plans which detectors scan which victims, and finds which of these scans are done."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from simkit.errors import ConfigError
from simkit.zoo.manifest import Manifest, Victim
from simkit.zoo.zoo import among, missing
from studies.scan.canonical import digest
from studies.scan.plan_length import below_plan
from studies.study.detectors import Method, method
from studies.study.image_hashes import ImageHashes
from studies.study.result_file import read_lines
from studies.study.result_line import ResultLine
from studies.study.unit import Study, Unit, UnitKey

_RANGE = re.compile(r"(\d{1,18})(?:-(\d{1,18}))?")


@dataclass(frozen=True)
class Plan:
    """The units to scan, ordered by victim, and the number of units that have a result line already."""

    todo: tuple[Unit, ...]
    done: int


def plan(study: Study, victims: Sequence[Victim], methods: Sequence[Method]) -> Plan:
    """The remaining scans of every victim with every detector; checks everything without a query.

    Raises ConfigError, InvalidSpec, DataError; ConfigError also where the file of results holds one of these scans with
    other images, since such lines cannot be compared.
    """
    units = units_of(study, victims, methods, ImageHashes())
    done = done_of(units, study.out)
    todo = tuple(unit for unit in units if unit.key not in done)
    return Plan(todo, len(units) - len(todo))


def units_of(
    study: Study, victims: Sequence[Victim], methods: Sequence[Method], images: ImageHashes
) -> tuple[Unit, ...]:
    """Every detector on every victim, ordered by victim. Raises ConfigError, InvalidSpec, DataError."""
    hashes = [config_hash(study, method) for method in methods]
    return tuple(
        Unit(study, victim, method.name, hashed, images.of(method, method.config(study.settings_of(victim))))
        for victim in victims
        for method, hashed in zip(methods, hashes, strict=True)
    )


def done_of(units: Iterable[Unit], out: Path) -> dict[UnitKey, ResultLine]:
    """The lines of `out` for these units. Raises ConfigError for a line with other images, and as `read_lines`."""
    lines = {line.unit: line for line in read_lines(out)}
    done: dict[UnitKey, ResultLine] = {}
    for unit in units:
        line = lines.get(unit.key)
        if line is not None and line.data_hash != unit.data_hash:
            what = f"{unit.detector} on victim {unit.victim.index}"
            raise ConfigError(f"{out}: has {what} with other images; scan with the same data, or name another file")
        if line is not None:
            done[unit.key] = line
    return done


def budgets_below_plan(units: Iterable[Unit]) -> tuple[str, ...]:
    """The warnings of scans whose budget is smaller than the plan of their preset, each of them once."""
    distinct = {(unit.study.zoo, unit.detector, unit.config_hash): unit for unit in units}
    classes = {zoo: len(Manifest.load(zoo).classes) for zoo in {zoo for zoo, _, _ in distinct}}
    told = (_below_plan(unit, classes[unit.study.zoo]) for unit in distinct.values())
    return tuple(dict.fromkeys(filter(None, told)))


def _below_plan(unit: Unit, n_classes: int) -> str:
    chosen = method(unit.detector)
    return "" if chosen.preset is None else below_plan(chosen.config(unit.study.settings), n_classes)


def config_hash(study: Study, method: Method) -> str:
    """The hash of a study's settings in the result lines of this method. Raises ConfigError, InvalidSpec."""
    hashed = digest(study.in_lines(method.identity(method.config(study.settings))))
    # The answers of a service are other results than those of the files.
    return hashed if study.served is None else digest([hashed, study.served])


def chosen(manifest: Manifest, indices: str | None = None, limit: int | None = None) -> list[Victim]:
    """The chosen victims, by index.

    indices: choose only these, as in `0-19,25`. limit: choose only the zoo's first victims; in a zoo that is still
    being made, victims that might not be among the first in the end are left out. Raises ConfigError for invalid text,
    and where no victim is left.
    """
    wanted = None if indices is None else index_ranges(indices)
    first = None if limit is None else _first(manifest, limit)
    victims = sorted(manifest.victims, key=lambda victim: victim.index)
    kept = [v for v in victims if among([v.index], wanted) and (first is None or v.index in first)]
    if not kept:
        indices_there = ", ".join(str(victim.index) for victim in victims[:20]) or "none yet"
        raise ConfigError(f"zoo {manifest.spec.name}: no such victims; it has {indices_there}")
    return kept


def _first(manifest: Manifest, limit: int) -> list[int]:
    """The first indices; models that are not made yet count as successful, so that a failure later removes none."""
    made = {victim.index: victim.failed for victim in (*manifest.victims, *manifest.failed)}
    to_come = () if manifest.complete else missing(manifest.spec, made)
    return sorted([*(index for index, failed in made.items() if not failed), *to_come])[:limit]


def index_ranges(text: str) -> list[range]:
    """The ranges in a text such as `0-19,25`; they are not expanded, since they may be of any size.

    Raises ConfigError for anything else.
    """
    ranges = []
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise ConfigError(f"--indices {text[:80]!r}: write numbers and ranges, for example 0-19,25")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise ConfigError(f"--indices {part.strip()}: the first number is above the last; write {last}-{first}")
        ranges.append(range(first, last + 1))
    return ranges


def ledgers_of(home: Path, zoo: str) -> Path:
    """The default folder of the ledgers of a zoo's scans."""
    return home / "studies" / zoo
