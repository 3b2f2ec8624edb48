"""Verdict and score of finished scans at smaller budgets, read off their ledgers: nothing is asked.

A scan with a smaller budget asks the same questions in the same order until it runs out, so that its verdict and its
score follow from the answers that are kept; see `replay.other_rules`. Budgets are read upwards, and no further than
to the first at which the scan takes the course that its line tells of: it takes it at all larger ones. A budget that
surely leaves it that course is not read. Where the ledger does not hold what a verdict hangs on, there is none; where a
score hangs on unseen images that were not asked about, the rule's score before them stands in.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from db.errors import StorageError
from oracles.errors import ReplayMismatch
from simkit.errors import ConfigError, DataError
from simkit.progress import OnProgress
from simkit.verdict import Kind
from studies.replay.other_rules import Reading, one_by_one
from studies.replay.rebuild import ReplayInputs
from studies.results.budget.matching_ledgers import Ledgers
from studies.results.budget.verdict_at_budget import VerdictAt, budget_of
from studies.study.executors import Workers, worker_pool
from studies.study.result_line import ResultLine


@dataclass(frozen=True)
class Task:
    """A finished scan and the budgets, ascending, at which it may not be as its line says. Plain data."""

    line: ResultLine
    ledger: Path
    run: int
    budgets: tuple[int, ...]
    data: str | None


@dataclass(frozen=True)
class Read:
    """What came of a task: a word for each budget, or why there is none."""

    task: Task
    words: Mapping[int, VerdictAt]
    problem: str = ""


def words_of(
    lines: Sequence[ResultLine], ledgers: Ledgers, budgets: Collection[int], told: OnProgress
) -> dict[tuple[object, ...], Mapping[int, VerdictAt]]:
    """By the unit of each line whose ledger is here, a word at each budget at which it may not be as its line says.

    told: how many of how many are read. Raises StorageError where a folder or a ledger cannot be read, DataError where
    no scan could be read off; warns where some could not.
    """
    found = list(read_all(tasks(lines, ledgers, budgets), ledgers.workers, told))
    problems = [one.problem for one in found if one.problem]
    if problems:
        unread = next(one for one in found if one.problem)
        said = f"{unread.task.ledger}: {unread.problem}"
        if len(problems) == len(found):
            raise DataError(said)
        warnings.warn(f"{len(problems)} of {len(found)} scans are as their lines say; {said}", stacklevel=2)
    return {one.task.line.unit: one.words for one in found if not one.problem}


def tasks(lines: Sequence[ResultLine], ledgers: Ledgers, budgets: Collection[int]) -> list[Task]:
    """Those of the scans that are to be read and have a ledger here. Raises StorageError."""
    kinds = {"none": [], "staged": [line for line in lines if line.staged], "all": lines}
    searched = [line for line in kinds[ledgers.exact] if "search" in line.config]
    return [
        Task(one.line, one.ledger, one.run, _below(one.line, budgets), ledgers.data) for one in ledgers.found(searched)
    ]


def read(task: Task) -> Read:
    """Its words; an error is told, and not raised: it concerns this scan alone."""
    if not task.budgets:
        return Read(task, {})
    words: dict[int, VerdictAt] = {}
    left = iter(task.budgets)
    try:
        for reading in one_by_one(task.ledger, task.run, at=task.budgets, given=ReplayInputs(data=task.data)):
            budget = next(left)
            words[budget] = word = _word(reading, task.line, budget)
            if _whole(reading, task.line):
                words |= dict.fromkeys(left, word)
                break
    except (ConfigError, DataError, ReplayMismatch, StorageError) as error:
        return Read(task, {}, " ".join(str(error).split()))
    return Read(task, words)


def read_all(tasks: Sequence[Task], workers: int, told: OnProgress) -> Iterator[Read]:
    """The tasks in their order, by so many processes; one is this process. told: how many of how many are done."""
    if workers == 1:
        for number, task in enumerate(tasks, start=1):
            yield read(task)
            told(number, len(tasks))
        return
    with worker_pool(Workers(min(workers, len(tasks) or 1)), __name__) as at_work:
        futures = [at_work.executor.submit(read, task) for task in tasks]
        for number, (task, future) in enumerate(zip(tasks, futures, strict=True), start=1):
            yield _outcome(task, future)
            told(number, len(tasks))


def _outcome(task: Task, future: Future[Read]) -> Read:
    try:
        return future.result()
    except BrokenProcessPool:
        return Read(task, {}, "its process died, for example for want of memory; read it with fewer --workers")


def _below(line: ResultLine, budgets: Collection[int]) -> tuple[int, ...]:
    """Those that another course may be taken at, ascending."""
    caps = [cap for cap in (budget_of(line), _enough(line)) if cap is not None]
    return tuple(sorted(budget for budget in budgets if all(budget < cap for cap in caps)))


def _enough(line: ResultLine) -> int | None:
    """A budget that surely leaves the scan its course, None for unknown: its queries, and all that any of its stages
    keeps for later, for unseen images, for the next stage to begin, and for the end of a refinement."""
    if line.stopped == "budget":
        return None
    later = line.config.get("stages")
    stages = [line.config, *(later if isinstance(later, list) else ())]
    classes = len(line.classes)
    kept = [classes * (_number(s, "driver", "verify_images") + int(s.get("least_queries") or 0)) for s in stages]
    return line.queries + max(kept) + max(2 * _number(s, "refine", "verify_images") for s in stages)


def _number(config: Mapping[str, Any], table: str, name: str) -> int:
    """A setting of one of its tables, 0 where there is none."""
    found = config.get(table)
    return int(found.get(name, 0)) if isinstance(found, Mapping) else 0


def _word(reading: Reading, line: ResultLine, budget: int) -> VerdictAt:
    score = reading.search_score if reading.score is None else reading.score
    spent = min(line.queries, budget) if reading.spent is None else reading.spent
    return VerdictAt(cast(Kind, reading.verdict), score, True, spent, line.staged, reading.held)


def _whole(reading: Reading, line: ResultLine) -> bool:
    """Whether the scan went to its end as it did with its own budget."""
    return reading.held and reading.spent == line.queries and reading.stopped == line.stopped != "budget"
