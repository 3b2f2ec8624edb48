"""The ledgers of scans that have their line: found again by model, images and settings, wherever they lie."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from db import reads
from db.errors import NotALedger
from db.stored import StoredRun
from simkit.detectors.registry import current_settings
from studies.ledgers.folders import ledgers_in
from studies.scan.canonical import canonical
from studies.study.result_line import ResultLine
from studies.study.unit import decision_queries

_RUNS = (
    "SELECT r.id, r.model_hash, r.data_hash, r.config, r.environment, v.spent"
    " FROM runs AS r JOIN verdicts AS v ON v.run_id = r.id"
)

Exact: TypeAlias = Literal["none", "staged", "all"]
"""Scans by ask and tell: none of them, those in stages, whose lines tell least of smaller budgets, or all."""

_Key: TypeAlias = tuple[str, str, str]
"""What a scan is known by, wherever it was made: model, images, and settings as canonical JSON."""


@dataclass(frozen=True)
class Found:
    """A line, and where its scan is kept."""

    line: ResultLine
    ledger: Path
    run: int


@dataclass(frozen=True)
class Ledgers:
    """Folders whose ledgers, there and below, are to be read; none for lines alone.

    exact: whose verdicts and scores at budgets are read off the answers, which takes some of a scan's time. data: the
    images of the scans then, None for those that a ledger names. workers: processes that read, 1 or more.
    """

    folders: tuple[Path, ...] = ()
    exact: Exact = "none"
    data: str | None = None
    workers: int = 1

    def found(self, lines: Sequence[ResultLine]) -> list[Found]:
        """Of these lines those whose scan is kept here. Raises StorageError where a folder or a file cannot be read."""
        wanted = {_known(line.model_hash, line.data_hash, line.config): line for line in lines}
        kept: dict[_Key, Found] = {}
        for path, run, key, told in self._runs({line.model_hash for line in lines}):
            line = wanted.get(key)
            if line is not None and told["spent"] == line.queries:
                mine = told["environment"] == line.environment
                if mine or key not in kept:  # of two that went the same way, the one that the line is of
                    kept[key] = Found(line, path, run)
        return list(kept.values())

    def completed(self, lines: Sequence[ResultLine]) -> list[ResultLine]:
        """The lines; those from before `decision_queries` that count a refinement, with it where it is kept here."""
        lacking = [line for line in lines if refinement_counted(line)]
        told = {
            one.line.unit: decision_queries(StoredRun.read(one.ledger, one.run), one.line.queries)
            for one in self.found(lacking)
        }
        return [
            line.model_copy(update={"decision_queries": told[line.unit]}) if line.unit in told else line
            for line in lines
        ]

    def _runs(self, models: Collection[str]) -> Iterator[tuple[Path, int, _Key, Mapping[str, Any]]]:
        """Of every finished run of these models: its ledger, id, what it is known by, its spend and environment."""
        for path in [path for folder in self.folders for path in ledgers_in(folder)] if models else ():
            try:
                rows = reads.sql(path, _RUNS)
            except NotALedger:
                continue  # another database in the folder
            for run, model, data, config, environment, spent in rows.itertuples(index=False):
                if model in models:
                    told = {"spent": int(spent), "environment": json.loads(environment)}
                    yield path, int(run), _known(model, data, json.loads(config)), told


def refinement_counted(line: ResultLine) -> bool:
    """Whether a line tells its verdict's queries only together with those of refining what was found."""
    return line.decision_queries is None and "refine" in line.notes


def _known(model: str, data: str, config: Mapping[str, object]) -> _Key:
    return model, data, canonical(current_settings(config))
