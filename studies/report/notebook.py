"""Ledgers and result files in a notebook: plots that return matplotlib Axes, and the table of results.

A plot is drawn on `ax`, or on a new figure, which is `.figure` of the Axes that are returned; no global state of pyplot
is used. Reading asks no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from db.reader import Reader
from simkit.errors import ConfigError
from simkit.progress import unheard

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from studies.render.charts import Bar
    from studies.report.records import ClassRow, RunReport
    from studies.results.budget.records import Measure
    from studies.study.result_line import ResultLine

Ledger: TypeAlias = Reader | str | PathLike[str]
"""What `db.open` returned, or the path of a ledger."""


def plot_triggers(ledger: Ledger, run: int | None = None, ax: Axes | None = None) -> Axes:
    """The triggers that a run found, at most six classes, each beside the original where the model's zoo knows it.

    Flagged classes come first, then the true target, then the smallest masks that work. run: the id; None where the
    ledger holds one run. Raises ConfigError where `run` is None and there are several, or it is not there; StorageError
    and NotALedger on the ledger.
    """
    from studies.render.charts import Caption, trigger_chart

    report = _run(ledger, run)
    shown = []
    for one in report.reversed:
        bar = _bar(one.row)
        if one.original is not None:
            shown.append(Caption(bar, one.original, f"{bar.label}\noriginal"))
        shown.append(Caption.of(bar, one.reversed))
    return trigger_chart(shown, _title(report), ax)


def plot_mask_sizes(ledger: Ledger, run: int | None = None, ax: Axes | None = None) -> Axes:
    """The mask size of every class as a bar, and the size under which the run's rule flags. Raises as `plot_triggers`.

    A class is censored where no trigger reached the required success.
    """
    from studies.render.charts import Bars, mask_size_chart
    from studies.report.wording import limit_words

    report = _run(ledger, run)
    bars = Bars(tuple(map(_bar, report.classes)), report.limit, limit_words(report))
    return mask_size_chart(bars, _title(report), ax)


def plot_search(ledger: Ledger, run: int | None = None, measure: str | None = None, ax: Axes | None = None) -> Axes:
    """What the search knew over the queries that it had asked: a line for each of ten classes at most.

    measure: `best_mask_size` (smallest working mask so far), `expected_mask_size`, `loss`, `best_success_rate`,
    `best_patch_size` or `working`; None for the first of these that the searcher reports. Raises as `plot_triggers`,
    and ConfigError where the searcher does not report it, or has asked nothing yet.
    """
    from studies.render.charts import curve_chart

    plots = {plot.measure: plot for plot in _run(ledger, run).plots}
    if not plots:
        raise ConfigError(f"{_path(ledger)}: the search of this run reports no measure over queries")
    chosen = measure or next(name for name in _FIRST if name in plots)
    if chosen not in plots:
        raise ConfigError(f"measure {chosen!r}: the search of this run reports {', '.join(plots)}")
    return curve_chart(plots[chosen], ax)


_FIRST = ("best_mask_size", "expected_mask_size", "best_success_rate", "best_patch_size", "working", "loss")


@dataclass(frozen=True)
class Results:
    """Lines of result files, made by `read_results`. A notebook shows the verdicts of every method on every zoo."""

    lines: tuple[ResultLine, ...]

    def _repr_html_(self) -> str:
        from studies.render.notebook import fragment
        from studies.results.table.gather import Wanted, tabulated
        from studies.results.table.layout import verdict_grids

        if not self.lines:
            return fragment("No result lines")
        splits = dict.fromkeys(line.split for line in self.lines)
        grids = [grid for split in splits for grid in verdict_grids(tabulated(self.lines, Wanted(split)))]
        count = f"{len(self.lines):,} result {'line' if len(self.lines) == 1 else 'lines'}"
        return fragment(f"{count}, split {' and '.join(splits)}", [_READING], grids=grids)


_READING = "In brackets the Wilson interval (95 %). An undecided or invalid verdict counts as wrong."


def read_results(*files: str | PathLike[str]) -> Results:
    """The lines of these result files, each scan once.

    Raises DataError, naming file and line, for a file that cannot be read or a line that is none of results.
    """
    from studies.study.result_file import checked_lines

    return Results(tuple(checked_lines([Path(file) for file in files])))


def plot_budget(
    results: Results, measure: Measure = "accuracy", zoos: Sequence[str] = (), ax: Axes | None = None
) -> Axes:
    """A measure over the query budget, a line with its Wilson interval (95 %) for each detector and service.

    measure: accuracy, tpr, fpr, undecided or auroc. zoos: the names of one or several, which are then pooled; may be
    empty where all lines are of one. Where lines are of several splits, those of `report` are drawn. Raises ConfigError
    for an unknown zoo, where none is named and there are several, and where no line is of a black box, since a white
    box asks no query.
    """
    from studies.results.budget.figure import one_panel
    from studies.results.budget.gather import BudgetConfig, curves_of

    study = curves_of(results.lines, BudgetConfig(zoos=tuple(zoos), pool=bool(zoos)), unheard)
    if len(study.panels) > 1:
        names = ", ".join(panel.title for panel in study.panels)
        raise ConfigError(f"results of {len(study.panels)} zoos; name one, or several to pool: {names}")
    return one_panel(study, measure, ax)


def _path(ledger: Ledger) -> Path:
    return ledger.path if isinstance(ledger, Reader) else Path(fspath(ledger))


def _run(ledger: Ledger, run: int | None) -> RunReport:
    from db.survey import run_ids
    from studies.report.gather import gather

    path = _path(ledger)
    if run is None and len(ids := run_ids(path)) > 1:
        raise ConfigError(f"{path}: holds {len(ids)} runs; choose one by its number, 1 for the first")
    (report,) = gather(path, [] if run is None else [run]).runs
    return report


def _bar(row: ClassRow) -> Bar:
    from studies.render.charts import Bar

    return Bar(f"class {row.label}", row.mask_size, flagged=row.flagged, censored=row.censored)


def _title(report: RunReport) -> str:
    from studies.report.wording import flagged_words, standing

    flagged = flagged_words(report)
    return f"run {report.id}, {standing(report)}{f', {flagged}' if flagged else ''}, {report.spent:,} queries"
