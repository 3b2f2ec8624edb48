"""Counts the configurations ever tried on a zoo: the more were tried, the more the best result owes to chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from db import reads
from db.records import check_object
from simkit.detectors.registry import current_settings, searched_by
from studies.ledgers.folders import is_screening
from studies.results.table.records import Configurations
from studies.scan.canonical import canonical
from studies.study.detectors import Method, described_methods
from studies.study.result_line import ResultLine

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
    victims, described = {line.model_hash for line in lines}, described_methods() if ledgers else {}
    for model, config in ledgers:
        if model in victims and not is_screening(config):
            names.setdefault(_identity(config), _named(config, described))
    detectors = Counter(names.values())
    by_count = sorted(detectors.items(), key=lambda counted: (-counted[1], counted[0]))
    return Configurations(tuple(by_count), len(names), files)


def runs_of(ledgers: Sequence[Path]) -> Iterator[tuple[str, Config]]:
    """The (model_hash, config) of every run, finished or not. Raises NotALedger, StorageError."""
    for ledger in ledgers:
        rows = reads.sql(ledger, "SELECT model_hash, config FROM runs ORDER BY id")
        for model, config in rows.itertuples(index=False):
            yield str(model), current_settings(check_object(config, f"{ledger}: a config"))


def _named(config: Config, described: Mapping[str, Method]) -> str:
    """The name that a result line would give the detector: of one of simkit's, of a preset, or else of the class."""
    method = described.get(canonical(config.get("detector")))
    return (method.name if method else searched_by(config)) or "another"


def _identity(config: Config) -> str:
    return canonical({name: value for name, value in config.items() if name not in _NAMES})
