"""Which detectors are to scan which victims, and which of these scans are done."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from simkit.errors import ConfigError
from simkit.zoo.manifest import Manifest, Victim
from simkit.zoo.zoo import missing
from studies.scan.canonical import digest
from studies.scan.config import ScanConfig
from studies.study.detectors import Method
from studies.study.image_hashes import ImageHashes
from studies.study.result_file import read_lines
from studies.study.result_line import ResultLine
from studies.study.unit import Study, Unit, UnitKey

_RANGE = re.compile(r"(\d{1,18})(?:-(\d{1,18}))?")


@dataclass(frozen=True)
class Plan:
    """The units to be scanned, victim by victim, and how many have their line already."""

    todo: tuple[Unit, ...]
    done: int


def plan(study: Study, victims: Sequence[Victim], methods: Sequence[Method]) -> Plan:
    """What is left of scanning every victim with every detector; everything is checked, and nothing asked.

    Raises ConfigError, InvalidSpec, DataError; ConfigError too where the file of results has one of these scans on
    other images, which no line may be compared with.
    """
    units = units_of(study, victims, methods, ImageHashes())
    done = done_of(units, study.out)
    todo = tuple(unit for unit in units if unit.key not in done)
    return Plan(todo, len(units) - len(todo))


def units_of(
    study: Study, victims: Sequence[Victim], methods: Sequence[Method], images: ImageHashes
) -> tuple[Unit, ...]:
    """Every detector on every victim, victim by victim. Raises ConfigError, InvalidSpec, DataError."""
    tasks = [_task(study, method, images) for method in methods]
    return tuple(Unit(study, victim, *task) for victim in victims for task in tasks)


def done_of(units: Iterable[Unit], out: Path) -> dict[UnitKey, ResultLine]:
    """The lines of `out` that are of these units. Raises ConfigError for one on other images, and as `read_lines`."""
    there = {line.unit: line for line in read_lines(out)}
    done: dict[UnitKey, ResultLine] = {}
    for unit in units:
        line = there.get(unit.key)
        if line is not None and line.data_hash != unit.data_hash:
            what = f"{unit.detector} on victim {unit.victim.index}"
            raise ConfigError(f"{out}: has {what} with other images; scan with the same data, or into another file")
        if line is not None:
            done[unit.key] = line
    return done


def config_hash(method: Method, config: ScanConfig) -> str:
    """What a line of results knows the settings of its scan by."""
    return digest(method.identity(config))


def _task(study: Study, method: Method, images: ImageHashes) -> tuple[str, str, str]:
    """Name, hash of the settings, and hash of the images."""
    config = method.config(study.settings)
    return method.name, config_hash(method, config), images.of(method, config)


def chosen(manifest: Manifest, indices: str | None = None, limit: int | None = None) -> list[Victim]:
    """The victims that are there, by index. indices: only these, as in `0-19,25`. limit: only the zoo's first so many.

    In a zoo that is still being made, those are left out that might not be among the first when it is complete. Raises
    ConfigError on other text, and where nothing is left.
    """
    wanted = None if indices is None else _indices(indices)
    first = None if limit is None else _first(manifest, limit)
    victims = sorted(manifest.victims, key=lambda victim: victim.index)
    kept = [
        v
        for v in victims
        if (wanted is None or any(v.index in part for part in wanted)) and (first is None or v.index in first)
    ]
    if not kept:
        there = ", ".join(str(victim.index) for victim in victims[:20]) or "none yet"
        raise ConfigError(f"zoo {manifest.spec.name}: no such victims; it has {there}")
    return kept


def _first(manifest: Manifest, limit: int) -> list[int]:
    """The first indices, those to be made counted as if they will succeed: a failure moves others forward, none out."""
    there = {victim.index: victim.failed for victim in (*manifest.victims, *manifest.failed)}
    to_come = () if manifest.complete else missing(manifest.spec, there)
    return sorted([*(index for index, failed in there.items() if not failed), *to_come])[:limit]


def _indices(text: str) -> list[range]:
    """The ranges of `0-19,25`, which are not written out: there may be any numbers in them."""
    found = []
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise ConfigError(f"--indices {text[:80]!r}: write numbers and ranges, for example 0-19,25")
        found.append(range(int(match[1]), int(match[2] or match[1]) + 1))
    return found


def ledgers_of(home: Path, zoo: str) -> Path:
    """Where the ledgers of a zoo's scans are kept when nobody says."""
    return home / "studies" / zoo
