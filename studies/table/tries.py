"""How many configurations a zoo has ever seen: a victim that settings were tried on measures them less and less."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from db import reads
from studies.identity import canonical
from studies.result_line import ResultLine
from studies.table.data import Tries

Config: TypeAlias = Mapping[str, Any]

_NAMES = frozenset({"preset"})
"""Entries of a config that name its settings: the same settings under two names are one configuration."""

_SCREENER = "simkit.mitigation.Screener"
"""The kind of runs in ledgers that screen inputs with a verdict that is there, and tell nothing of the model."""

_PARTS = ("search", "detector")
"""Where a config says what kind of searcher or detector it is of."""


def tries(lines: Sequence[ResultLine], ledgers: Sequence[tuple[str, Config]] = (), files: int = 0) -> Tries:
    """The different configurations of one zoo's lines and of the runs in ledgers.

    ledgers: (model_hash, config) of the runs, of any model; those of other zoos' victims do not count. files: how many
    ledgers they are from.
    """
    victims = {line.model_hash for line in lines}
    told: list[tuple[str, Config]] = [(_family(line.config, line.detector), line.config) for line in lines]
    told += [(_family(config, "another"), config) for model, config in ledgers if model in victims and _detects(config)]
    different = {(family, _known(config)) for family, config in told}
    families = Counter(family for family, _ in different)
    return Tries(tuple(sorted(families.items(), key=lambda one: (-one[1], one[0]))), len(different), files)


def runs_of(ledgers: Sequence[Path]) -> Iterator[tuple[str, Config]]:
    """(model_hash, config) of every run, finished or not. Raises NotALedger, StorageError."""
    for ledger in ledgers:
        rows = reads.sql(ledger, "SELECT model_hash, config FROM runs ORDER BY id")
        for model, config in rows.itertuples(index=False):
            yield str(model), json.loads(config)


def _family(config: Config, otherwise: str) -> str:
    """`B3DConfig` or another kind of searcher or detector, whatever its presets are called."""
    for part in _PARTS:
        inner = config.get(part)
        if isinstance(inner, Mapping) and isinstance(inner.get("kind"), str):
            return str(inner["kind"]).rpartition(".")[2]
    return otherwise


def _detects(config: Config) -> bool:
    detector = config.get("detector")
    return not (isinstance(detector, Mapping) and detector.get("kind") == _SCREENER)


def _known(config: Config) -> str:
    return canonical({name: value for name, value in config.items() if name not in _NAMES})
