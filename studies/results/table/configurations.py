"""Counts the configurations ever tried on a zoo: the more were tried, the more the best result owes to chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from db import reads
from db.records import check_object
from simkit.detectors.registry import current_settings, searched_by
from simkit.seeding import subseed
from studies.ledgers.folders import is_screening
from studies.results.table.records import Configurations
from studies.scan.canonical import canonical
from studies.study.detectors import described_methods
from studies.study.result_line import BY_VICTIM, ResultLine

Config: TypeAlias = Mapping[str, Any]

_NAMES = frozenset({"preset"})
"""Entries of a config that only name its settings; equal settings under two names are one configuration."""


def configurations(
    lines: Sequence[ResultLine], ledgers: Sequence[tuple[str, Config]] = (), files: int = 0
) -> Configurations:
    """The different configurations in one zoo's lines and in the runs of ledgers.

    ledgers: (model_hash, config) of each run; runs of other zoos' victims are ignored. files: number of ledgers that
    the runs are from.
    """
    names: dict[str, str] = {}
    for line in lines:
        names.setdefault(_identity(line.config), line.detector)
    victims, known = {line.model_hash for line in lines}, _names_of(lines) if ledgers else {}
    seeds = _seeds_of(lines) if ledgers else {}
    for model, config in ledgers:
        if model in victims and not is_screening(config):
            seed = config.get("seed")
            names.setdefault(_identity({**config, "seed": seeds.get((model, seed), seed)}), _named(config, known))
    detectors = Counter(names.values())
    by_count = sorted(detectors.items(), key=lambda counted: (-counted[1], counted[0]))
    return Configurations(tuple(by_count), len(names), files)


def runs_of(ledgers: Sequence[Path]) -> Iterator[tuple[str, Config]]:
    """The (model_hash, config) of every run, finished or not. Raises NotALedger, StorageError."""
    for ledger in ledgers:
        rows = reads.sql(ledger, "SELECT model_hash, config FROM runs ORDER BY id")
        for model, config in rows.itertuples(index=False):
            yield str(model), current_settings(check_object(config, f"{ledger}: a config"))


def _seeds_of(lines: Sequence[ResultLine]) -> dict[tuple[str, Any], str]:
    """The seed in the settings of lines, by victim (model_hash) and the victim's own seed, which is in its ledgers."""
    drawn = [line for line in lines if line.own_draw]
    seeds = {(line.model_hash, line.seed): str(line.config["seed"]) for line in drawn}
    of_study = {int(name.removesuffix(BY_VICTIM)): name for name in seeds.values()}
    for line in drawn:
        if line.seed is not None and line.config["seed"] == f"0{BY_VICTIM}":  # then it is the victim's own
            for seed, name in of_study.items():
                seeds.setdefault((line.model_hash, subseed(seed, "scan", line.seed)), name)  # a run without a line
    return seeds


def _names_of(lines: Sequence[ResultLine]) -> dict[str, str]:
    """The names of detectors by how a run's config describes them, of simkit's and of those in lines; where all lines
    give one name to a class, also by the class."""
    names = {described: method.name for described, method in described_methods().items()}
    by_class: dict[str, set[str]] = {}
    for line in lines:
        if isinstance(detector := line.config.get("detector"), Mapping):
            names.setdefault(canonical(detector), line.detector)
            by_class.setdefault(str(detector.get("kind")), set()).add(line.detector)
    return names | {kind: min(given) for kind, given in by_class.items() if len(given) == 1}


def _named(config: Config, known: Mapping[str, str]) -> str:
    """The name that a result line would give the detector: of one of simkit's, of a preset, or else of the class."""
    detector = config.get("detector")
    name = known.get(canonical(detector))
    if name is None and isinstance(detector, Mapping):
        name = known.get(str(detector.get("kind")))
    return name or searched_by(config) or "another"


def _identity(config: Config) -> str:
    return canonical({name: value for name, value in config.items() if name not in _NAMES})
