"""Verdict and score of finished scans at smaller budgets, read off their ledgers: nothing is asked.

A scan with a smaller budget asks the same questions in the same order until it runs out, so that its verdict and its
score follow from the answers that are kept; see `studies.replay_rules`. Budgets are read upwards, and no further than
to the first at which the scan takes the course that its line tells of: it takes it at all larger ones. Where the ledger
does not hold what a verdict hangs on, there is none; where a score hangs on unseen images that were not asked about,
the rule's score before them stands in.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

from db import reads
from db.errors import NotALedger, StorageError
from oracles.errors import ReplayMismatch
from simkit.children import children
from simkit.errors import ConfigError, DataError
from simkit.verdict import Kind
from studies.budget.standing import Word, limit_of
from studies.identity import canonical
from studies.ledger_files import ledgers_in
from studies.replay_rules import Reading, one_by_one
from studies.replay_run import Given
from studies.result_line import ResultLine

_RUNS = (
    "SELECT r.id, r.model_hash, r.data_hash, r.config, r.environment, v.spent"
    " FROM runs AS r JOIN verdicts AS v ON v.run_id = r.id"
)

_Key: TypeAlias = tuple[str, str, str]
"""What a scan is known by, wherever it was made: model, images, and settings as canonical JSON."""


@dataclass(frozen=True)
class Task:
    """A finished scan and the budgets, ascending and below its own, that it is to be read at. Plain data."""

    line: ResultLine
    ledger: Path
    run: int
    budgets: tuple[int, ...]
    data: str | None


@dataclass(frozen=True)
class Read:
    """What came of a task: a word for each budget, or why there is none."""

    task: Task
    words: Mapping[int, Word]
    problem: str = ""


@dataclass(frozen=True)
class Ledgers:
    """Folders whose ledgers, there and below, are to be read; none for lines alone.

    data: the images of the scans, None for those that a ledger names. workers: processes that read, 1 or more.
    """

    folders: tuple[Path, ...] = ()
    data: str | None = None
    workers: int = 1

    def read(
        self, lines: Sequence[ResultLine], budgets: Collection[int], told: Callable[[int, int], None]
    ) -> dict[tuple[object, ...], Mapping[int, Word]]:
        """By the unit of each line whose ledger is here, a word at each of these budgets below its own.

        Raises StorageError where a folder or a ledger cannot be read, DataError where no scan could be read off.
        """
        found = list(read_all(tasks(lines, self.folders, budgets, self.data), self.workers, told))
        problems = [one.problem for one in found if one.problem]
        if found and len(problems) == len(found):
            raise DataError(f"{found[0].task.ledger}: {problems[0]}")
        return {one.task.line.unit: one.words for one in found if not one.problem}


def tasks(
    lines: Sequence[ResultLine], folders: Sequence[Path], budgets: Collection[int], data: str | None
) -> list[Task]:
    """Those of the scans by ask and tell whose ledger is in these folders or below them. Raises StorageError."""
    wanted = {_known(line.model_hash, line.data_hash, line.config): line for line in lines if "search" in line.config}
    found: dict[_Key, tuple[Path, int]] = {}
    for path, run, key, told in _runs(folders, {line.model_hash for line in lines}):
        line = wanted.get(key)
        if line is not None and told["spent"] == line.queries:
            mine = told["environment"] == line.environment
            if mine or key not in found:  # of two that went the same way, the one that the line is of
                found[key] = path, run
    made = [(wanted[key], *place) for key, place in found.items()]
    tasks = [Task(line, path, run, _below(line, budgets), data) for line, path, run in made]
    return [task for task in tasks if task.budgets]


def read(task: Task) -> Read:
    """Its words; an error is told, and not raised: it concerns this scan alone."""
    words: dict[int, Word] = {}
    left = iter(task.budgets)
    try:
        for reading in one_by_one(task.ledger, task.run, at=task.budgets, given=Given(data=task.data)):
            budget = next(left)
            words[budget] = word = _word(reading, task.line, budget)
            if _whole(reading, task.line):
                words |= dict.fromkeys(left, word)
                break
    except (ConfigError, DataError, ReplayMismatch, StorageError) as error:
        return Read(task, {}, " ".join(str(error).split()))
    return Read(task, words)


def read_all(tasks: Sequence[Task], workers: int, told: Callable[[int, int], None]) -> Iterator[Read]:
    """The tasks in their order, by so many processes; one is this process. told: how many of how many are done."""
    if workers == 1:
        for number, task in enumerate(tasks, start=1):
            yield read(task)
            told(number, len(tasks))
        return
    context = multiprocessing.get_context("forkserver")  # a fork of this process would have threads of torch in it
    context.set_forkserver_preload([__name__])
    with children(min(workers, len(tasks) or 1), context, 1) as pool:
        for number, found in enumerate(pool.map(read, tasks), start=1):
            yield found
            told(number, len(tasks))


def _runs(folders: Sequence[Path], models: Collection[str]) -> Iterator[tuple[Path, int, _Key, Mapping[str, Any]]]:
    """Of every finished run of these models: its ledger, its id, what it is known by, its spend and environment."""
    for path in [path for folder in folders for path in ledgers_in(folder)]:
        try:
            rows = reads.sql(path, _RUNS)
        except NotALedger:
            continue  # another database in the folder
        for run, model, data, config, environment, spent in rows.itertuples(index=False):
            if model in models:
                told = {"spent": int(spent), "environment": json.loads(environment)}
                yield path, int(run), _known(model, data, json.loads(config)), told


def _known(model: str, data: str, config: Mapping[str, object]) -> _Key:
    return model, data, canonical(config)


def _below(line: ResultLine, budgets: Collection[int]) -> tuple[int, ...]:
    cap = limit_of(line)
    return tuple(sorted(budget for budget in budgets if cap is None or budget < cap))


def _word(reading: Reading, line: ResultLine, budget: int) -> Word:
    score = reading.search_score if reading.score is None else reading.score
    spent = min(line.queries, budget) if reading.spent is None else reading.spent
    return Word(cast(Kind, reading.verdict), score, True, spent, reading.held)


def _whole(reading: Reading, line: ResultLine) -> bool:
    """Whether the scan went to its end as it did with its own budget."""
    return reading.held and reading.spent == line.queries and reading.stopped == line.stopped != "budget"
