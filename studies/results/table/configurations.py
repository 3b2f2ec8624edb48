"""How many configurations a zoo has ever seen: a victim that settings were tried on measures them less and less."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from db import reads
from simkit.detectors.registry import current_settings
from studies.ledgers.folders import is_screening
from studies.ledgers.run_words import searched_by
from studies.results.table.records import Configurations
from studies.scan.canonical import canonical
from studies.study.detectors import Method, described_methods
from studies.study.result_line import ResultLine

Config: TypeAlias = Mapping[str, Any]

_NAMES = frozenset({"preset"})
"""Entries of a config that name its settings: the same settings under two names are one configuration."""


def configurations(
    lines: Sequence[ResultLine], ledgers: Sequence[tuple[str, Config]] = (), files: int = 0
) -> Configurations:
    """The different configurations of one zoo's lines and of the runs in ledgers.

    ledgers: (model_hash, config) of the runs, of any model; those of other zoos' victims do not count. files: how many
    ledgers they are from.
    """
    names: dict[str, str] = {}
    for line in lines:
        names.setdefault(_known(line.config), line.detector)
    victims, coming = {line.model_hash for line in lines}, described_methods() if ledgers else {}
    for model, config in ledgers:
        if model in victims and not is_screening(config):
            names.setdefault(_known(config), _named(config, coming))
    detectors = Counter(names.values())
    return Configurations(tuple(sorted(detectors.items(), key=lambda one: (-one[1], one[0]))), len(names), files)


def runs_of(ledgers: Sequence[Path]) -> Iterator[tuple[str, Config]]:
    """(model_hash, config) of every run, finished or not. Raises NotALedger, StorageError."""
    for ledger in ledgers:
        rows = reads.sql(ledger, "SELECT model_hash, config FROM runs ORDER BY id")
        for model, config in rows.itertuples(index=False):
            yield str(model), current_settings(json.loads(config))


def _named(config: Config, coming: Mapping[str, Method]) -> str:
    """As a line would name it: a detector that comes with simkit, a preset, or else the class."""
    method = coming.get(canonical(config.get("detector")))
    return (method.name if method else searched_by(config)) or "another"


def _known(config: Config) -> str:
    return canonical({name: value for name, value in config.items() if name not in _NAMES})
