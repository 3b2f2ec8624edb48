"""Finds the ledgers of scans that have a result line, by model, images and settings, wherever the files are."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from db import reads
from db.errors import NotALedger
from db.records import check_object
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
"""The searches to compute exactly: none, those in stages, whose lines say least about smaller budgets, or all."""

_Key: TypeAlias = tuple[str, str, str]
"""The identity of a scan, independent of where it was made: model, images, and settings as canonical JSON."""


@dataclass(frozen=True)
class Found:
    """A result line, and the ledger and run that store its scan."""

    line: ResultLine
    ledger: Path
    run: int


@dataclass(frozen=True)
class Ledgers:
    """The ledgers to read besides the result lines.

    folders: searched with their subfolders; empty means to use result lines only. exact: the scans whose verdicts and
    scores at budgets are computed from the stored answers, which takes part of the time of a scan. data: the images of
    these scans; None means those that a ledger names. workers: number of processes that read ledgers, at least 1.
    """

    folders: tuple[Path, ...] = ()
    exact: Exact = "none"
    data: str | None = None
    workers: int = 1

    def found(self, lines: Sequence[ResultLine]) -> list[Found]:
        """The lines whose scan is stored here. Raises StorageError where a folder or a file cannot be read."""
        wanted = {_key(line.model_hash, line.data_hash, line.config_of_run): line for line in lines}
        kept: dict[_Key, Found] = {}
        for path, run, key, stored in self._runs({line.model_hash for line in lines}):
            line = wanted.get(key)
            if line is not None and stored["spent"] == line.queries:
                same_place = stored["environment"] == line.environment
                if same_place or key not in kept:  # of two equal scans, prefer the one that the line was made from
                    kept[key] = Found(line, path, run)
        return list(kept.values())

    def completed(self, lines: Sequence[ResultLine]) -> list[ResultLine]:
        """The lines, with `decision_queries` filled in from ledgers where an older line lacks it."""
        lacking = [line for line in lines if refinement_counted(line)]
        queries = {
            kept.line.unit: decision_queries(StoredRun.read(kept.ledger, kept.run), kept.line.queries)
            for kept in self.found(lacking)
        }
        return [
            line.model_copy(update={"decision_queries": queries[line.unit]}) if line.unit in queries else line
            for line in lines
        ]

    def _runs(self, models: Collection[str]) -> Iterator[tuple[Path, int, _Key, Mapping[str, Any]]]:
        """For every finished run of these models: ledger, id, identity, and its spent queries and environment."""
        for path in [path for folder in self.folders for path in ledgers_in(folder)] if models else ():
            try:
                rows = reads.sql(path, _RUNS)
            except NotALedger:
                continue  # the folder may hold other SQLite databases, such as Optuna's
            for run, model, data, config, environment, spent in rows.itertuples(index=False):
                if model in models:
                    stored = {"spent": int(spent), "environment": check_object(environment, f"{path}: an environment")}
                    yield path, int(run), _key(model, data, check_object(config, f"{path}: a config")), stored


def refinement_counted(line: ResultLine) -> bool:
    """Whether an older line counts the queries of refining a trigger together with those up to the verdict."""
    return line.decision_queries is None and "refine" in line.notes


def _key(model: str, data: str, config: Mapping[str, object]) -> _Key:
    return model, data, canonical(current_settings(config))
