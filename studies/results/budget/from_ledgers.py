"""Computes verdict and score of finished scans at smaller budgets from their ledgers, without a query.

A scan with a smaller budget sends the same queries in the same order until its budget runs out, so its verdict and its
score follow from the stored answers; see `replay.other_rules`. Budgets are computed in ascending order, up to the first
one at which the scan runs exactly as its result line says, since it does so at all larger budgets. Budgets at which
this is certain in advance are not computed. Where the ledger lacks answers that a verdict depends on, there is no
verdict; where a score depends on unseen images that were not queried, the rule's score before them is used instead.
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
    """A finished scan, and in ascending order the budgets at which its verdict may differ from its line; plain data."""

    line: ResultLine
    ledger: Path
    run: int
    budgets: tuple[int, ...]
    data: str | None


@dataclass(frozen=True)
class Read:
    """The outcome of a task: a verdict for each budget, or in `problem` the reason why there is none."""

    task: Task
    verdicts: Mapping[int, VerdictAt]
    problem: str = ""


def verdicts_of(
    lines: Sequence[ResultLine], ledgers: Ledgers, budgets: Collection[int], progress: OnProgress
) -> dict[tuple[object, ...], Mapping[int, VerdictAt]]:
    """For each line with a ledger here, by its unit, the verdict at each budget at which it may differ from the line.

    progress: told how many ledgers are read. Raises StorageError where a folder or a ledger cannot be read, and
    DataError where the verdicts of no scan could be computed; warns where some could not.
    """
    outcomes = list(read_all(tasks(lines, ledgers, budgets), ledgers.workers, progress))
    unread = [outcome for outcome in outcomes if outcome.problem]
    if unread:
        problem = f"{unread[0].task.ledger}: {unread[0].problem}"
        if len(unread) == len(outcomes):
            raise DataError(problem)
        count = f"{len(unread)} of {len(outcomes)}"
        warnings.warn(f"the verdicts of {count} scans are taken from their result lines; {problem}", stacklevel=2)
    return {outcome.task.line.unit: outcome.verdicts for outcome in outcomes if not outcome.problem}


def tasks(lines: Sequence[ResultLine], ledgers: Ledgers, budgets: Collection[int]) -> list[Task]:
    """A task for each scan that is to be computed exactly and has a ledger here. Raises StorageError."""
    kinds = {"none": [], "staged": [line for line in lines if line.staged], "all": lines}
    searched = [line for line in kinds[ledgers.exact] if "search" in line.config]
    return [
        Task(kept.line, kept.ledger, kept.run, _below(kept.line, budgets), ledgers.data)
        for kept in ledgers.found(searched)
    ]


def read(task: Task) -> Read:
    """The verdicts of a task; an error becomes its `problem`, since it concerns only this scan."""
    if not task.budgets:
        return Read(task, {})
    verdicts: dict[int, VerdictAt] = {}
    left = iter(task.budgets)
    try:
        for reading in one_by_one(task.ledger, task.run, at=task.budgets, given=ReplayInputs(data=task.data)):
            budget = next(left)
            verdicts[budget] = verdict = _verdict(reading, task.line, budget)
            if _whole(reading, task.line):
                verdicts |= dict.fromkeys(left, verdict)
                break
    except (ConfigError, DataError, ReplayMismatch, StorageError) as error:
        return Read(task, {}, " ".join(str(error).split()))
    return Read(task, verdicts)


def read_all(tasks: Sequence[Task], workers: int, progress: OnProgress) -> Iterator[Read]:
    """The outcomes in the order of the tasks, computed by `workers` processes, of which 1 means this process."""
    if workers == 1:
        for number, task in enumerate(tasks, start=1):
            yield read(task)
            progress(number, len(tasks))
        return
    with worker_pool(Workers(min(workers, len(tasks) or 1)), __name__) as at_work:
        futures = [at_work.executor.submit(read, task) for task in tasks]
        for number, (task, future) in enumerate(zip(tasks, futures, strict=True), start=1):
            yield _outcome(task, future)
            progress(number, len(tasks))


def _outcome(task: Task, future: Future[Read]) -> Read:
    try:
        return future.result()
    except BrokenProcessPool:
        return Read(task, {}, "its process died, perhaps out of memory; use fewer --workers")


def _below(line: ResultLine, budgets: Collection[int]) -> tuple[int, ...]:
    """The budgets at which the scan may run differently, in ascending order."""
    if line.perhaps_early:  # its verdict may be another one by the rules of today, at its own budget as well
        own = budget_of(line)
        return tuple(sorted(budget for budget in budgets if own is None or budget <= own))
    caps = [cap for cap in (budget_of(line), _enough(line)) if cap is not None]
    return tuple(sorted(budget for budget in budgets if all(budget < cap for cap in caps)))


def _enough(line: ResultLine) -> int | None:
    """A budget at which the scan certainly runs as its line says, or None where none is known.

    It is the scan's queries and the most that any stage reserves: for unseen images, for the next stage to start, and
    for the end of a refinement.
    """
    if line.stopped == "budget":
        return None
    later = line.config.get("stages")
    stages = [line.config, *(later if isinstance(later, list) else ())]
    classes = len(line.classes)
    kept = [classes * (_number(s, "driver", "verify_images") + int(s.get("least_queries") or 0)) for s in stages]
    return line.queries + max(kept) + max(2 * _number(s, "refine", "verify_images") for s in stages)


def _number(config: Mapping[str, Any], table: str, name: str) -> int:
    """A setting in one of the tables of a config, 0 where it is missing."""
    settings = config.get(table)
    return int(settings.get(name, 0)) if isinstance(settings, Mapping) else 0


def _verdict(reading: Reading, line: ResultLine, budget: int) -> VerdictAt:
    score = reading.search_score if reading.score is None else reading.score
    spent = min(line.queries, budget) if reading.spent is None else reading.spent
    return VerdictAt(cast(Kind, reading.verdict), score, True, spent, line.staged, reading.held)


def _whole(reading: Reading, line: ResultLine) -> bool:
    """Whether the scan ran to its end just as it did with its own budget."""
    return reading.held and reading.spent == line.queries and reading.stopped == line.stopped != "budget"
