"""`simkit study run` and `simkit study status`: run a whole study from its file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from studies.cli.options import NewRunOption, OtherExecutor, OtherWorkers
from studies.cli.output import echo, print_json, print_table, stacked_bars
from studies.cli.scan_progress import worked

if TYPE_CHECKING:
    from studies.study.grid import StudyPlan
    from studies.study.study_file import StudyFile
    from studies.study.unit import Outcome, Unit

StudyPath = Annotated[
    Path, typer.Argument(metavar="FILE", help="The study file; see simkit study new.", show_default=False)
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything and show what is left, without scanning.")]
Merge = Annotated[bool, typer.Option("--merge", help="Merge finished ledgers into study.db beside the results.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")]

_COLUMNS = ("zoo", "detector", "service", "seeds", "done", "left", "right", "queries")


def run_study(  # noqa: PLR0913 (the options are the command's interface)
    file: StudyPath,
    workers: OtherWorkers = None,
    executor: OtherExecutor = None,
    dry_run: DryRun = False,
    merge: Merge = False,
    new_run: NewRunOption = False,
    as_json: AsJson = False,
) -> None:
    """Run the remaining scans of the study in FILE, and show its progress.

    The same command resumes after any interruption and repeats no finished scan.
    A failing scan does not stop the others: it is reported at the end, the same command tries it again,
    and the exit code is 1.
    """
    from studies.study.executors import Workers
    from studies.study.study_file import StudyFile

    study = StudyFile.load(file)
    plan, default = study.plan(), study.config.workers
    outcomes: list[Outcome] = []
    if not dry_run:
        who = Workers(workers or default.processes, default.threads, executor or default.executor)
        names = {key: f"{cell.detector} ({cell.service})" for key, cell in plan.cells.items()}
        with _progress(plan, names, quiet=as_json) as progress:
            todo = [replace(unit, new_run=new_run) for unit in plan.todo]
            outcomes = worked(todo, who, progress, quiet=as_json, naming=lambda unit: names[unit.key])
        plan = plan.now()
    more = {"merged": _merged(study)} if merge and not dry_run else {}
    _tell(study, plan, outcomes, more, as_json=as_json)
    if any(outcome.state == "failed" for outcome in outcomes):
        raise typer.Exit(1)


def show_status(file: StudyPath, as_json: AsJson = False) -> None:
    """Show which scans of the study in FILE are done, and which are left."""
    from studies.study.study_file import StudyFile

    study = StudyFile.load(file)
    _tell(study, study.plan(), [], {}, as_json=as_json)


def _merged(study: StudyFile) -> dict[str, Any]:
    from studies.ledgers.folders import MERGED, merge_finished

    into = study.results.parent / MERGED
    return {"file": str(into), "added": merge_finished(study.ledgers, into) if study.ledgers.is_dir() else 0}


@contextmanager
def _progress(plan: StudyPlan, names: dict[Any, str], *, quiet: bool) -> Iterator[Callable[[Outcome], None]]:
    """Progress bars with the time left: one for all remaining scans, and one per detector and service."""
    left = Counter(names[unit.key] for unit in plan.todo)
    with stacked_bars({"scans": left.total(), **left}, quiet=quiet) as advance:

        def finished(outcome: Outcome) -> None:
            advance("scans")
            advance(names[outcome.unit.key])

        yield finished


def _tell(study: StudyFile, plan: StudyPlan, outcomes: list[Outcome], more: dict[str, Any], *, as_json: bool) -> None:
    from studies.study.grid import grid_rows

    rows = [asdict(row) for row in grid_rows(plan)]
    states = Counter(outcome.state for outcome in outcomes)
    done, left = sum(row["done"] for row in rows), sum(row["left"] for row in rows)
    if as_json:
        about = {"study": study.config.name, "hash": study.hash, "results": str(study.results), "done": done}
        ended = {"scanned": states["scanned"], "busy": states["busy"], "failed": states["failed"]}
        failures = [_failure(outcome, plan) for outcome in outcomes if outcome.state == "failed"]
        print_json({**about, "left": left, **ended, **more, "grid_rows": rows, "failures": failures})
        return
    if not rows:
        echo(f"{study.config.name}: has no [[detectors]] and so no scans; run its [tune] table with simkit study tune")
        return
    print_table(rows, _COLUMNS)
    words = [f"{study.config.name}: {done} scans done, {left} left"]
    words += [f"{states['scanned']} of them now"] if states["scanned"] else []
    words += [f"{states['busy']} being scanned by another process"] if states["busy"] else []
    words += [f"{states['failed']} failed"] if states["failed"] else []
    words += [f"{more['merged']['added']} merged into {more['merged']['file']}"] if more else []
    echo(", ".join(words))


def _failure(outcome: Outcome, plan: StudyPlan) -> dict[str, Any]:
    unit: Unit = outcome.unit
    cell = plan.cells[unit.key]
    names = {"zoo": unit.study.name, "index": unit.victim.index, "detector": cell.detector, "service": cell.service}
    return {**names, "seed": cell.seed, "error": "; ".join(outcome.messages)}
