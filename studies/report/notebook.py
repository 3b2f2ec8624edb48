"""Ledgers and result files in a notebook: plots that return matplotlib Axes, and the table of results.

A plot is drawn on `ax`, or on a new figure, which is `.figure` of the returned Axes; pyplot's global state is not used.
No model is loaded or queried.
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
"""A reader returned by `db.open`, or the path of a ledger."""


def plot_triggers(ledger: Ledger, run: int | None = None, ax: Axes | None = None) -> Axes:
    """Draw the reversed triggers of a run, for at most six classes, each beside the original where a zoo knows it.

    Flagged classes come first, then the true target, then the smallest working masks. run: the id; may be None if the
    ledger holds one run. Raises ConfigError where `run` is unknown, or None with several runs; StorageError and
    NotALedger for the ledger.
    """
    from studies.render.charts import Caption, trigger_chart

    report = _run(ledger, run)
    shown = []
    for trigger in report.reversed:
        bar = _bar(trigger.row)
        if trigger.original is not None:
            shown.append(Caption(bar, trigger.original, f"{bar.label}\noriginal"))
        shown.append(Caption.of(bar, trigger.reversed))
    return trigger_chart(shown, _title(report), ax)


def plot_mask_sizes(ledger: Ledger, run: int | None = None, ax: Axes | None = None) -> Axes:
    """Draw the mask size of every class as a bar, with the size below which the rule flags. Raises as `plot_triggers`.

    A class is censored where no trigger reached the required success rate.
    """
    from studies.render.charts import Bars, mask_size_chart
    from studies.report.wording import limit_words

    report = _run(ledger, run)
    bars = Bars(tuple(map(_bar, report.classes)), report.limit, limit_words(report))
    return mask_size_chart(bars, _title(report), ax)


def plot_search(ledger: Ledger, run: int | None = None, measure: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw the progress of the search over its queries, with one line per class, for at most ten classes.

    measure: `best_mask_size` (smallest working mask so far), `expected_mask_size`, `loss`, `best_success_rate`,
    `best_patch_size` or `working`; None for the first of these that the searcher reports. Raises as `plot_triggers`,
    and ConfigError where the searcher does not report the measure, or has sent no query yet.
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
    """Result lines, as read by `read_results`. A notebook shows a table of every method on every zoo."""

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


_READING = "Brackets give the 95 % Wilson interval. An undecided or invalid verdict counts as wrong."


def read_results(*files: str | PathLike[str]) -> Results:
    """The lines of these result files, each of another scan.

    Raises DataError, which names file and line, for an unreadable file or a line that is no result line.
    """
    from studies.study.result_file import checked_lines

    return Results(tuple(checked_lines([Path(file) for file in files])))


def plot_budget(
    results: Results, measure: Measure = "accuracy", zoos: Sequence[str] = (), ax: Axes | None = None
) -> Axes:
    """Draw a measure over the query budget, with one line and its 95 % Wilson interval per detector and service.

    measure: accuracy, tpr, fpr, undecided or auroc. zoos: names of one or several zoos, which are pooled; may be empty
    if all lines are of one zoo. Of several splits, `report` is drawn. Raises ConfigError for an unknown zoo, where none
    is named but there are several, and where no line is of a black-box detector.
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

    words = "" if row.is_patch else row.kind
    return Bar(f"class {row.label}", row.mask_size, row.flagged, row.censored, words)


def _title(report: RunReport) -> str:
    from studies.report.wording import flagged_words, standing

    flagged = flagged_words(report)
    return f"run {report.id}, {standing(report)}{f', {flagged}' if flagged else ''}, {report.spent:,} queries"
