"""The figures of a study's report, each as SVG, PNG and CSV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from studies.render.figures import COLOURS, Drawing, csv_text, logarithmic, looks, plain
from studies.report.study.records import Spend, StudyReport
from studies.results.budget import wording
from studies.results.budget.export import drawn_csv
from studies.results.budget.figure import figure
from studies.results.budget.records import BudgetStudy, Measure
from studies.results.table.records import Table
from studies.statistics import Bin, Spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MEASURES: tuple[Measure, ...] = ("accuracy", "auroc", "tpr", "fpr")

_SHARE = ("hits", "trials", "low", "high")

_KINDS = (("backdoored", COLOURS[1]), ("clean", COLOURS[0]))


def drawings(report: StudyReport) -> list[Drawing]:
    """All figures in the order of the page, except those of the tuning."""
    curves = [] if report.curves is None else [_curves(report.curves, measure) for measure in _MEASURES]
    asked = [spend for spend in report.spend if spend.queries.total]
    stated = [] if report.table is None else list(_stated(report.table))
    return [*curves, *([_spend(asked)] if asked else []), *([_reliability(stated)] if stated else [])]


def _stated(table: Table) -> Iterator[tuple[str, Bin]]:
    """Every bin of stated probabilities with whose it is."""
    for zoo in table.zoos:
        for cell in zoo.cells:
            label = cell.method.label if len(table.zoos) == 1 else f"{cell.method.label}, {zoo.zoo}"
            yield from ((label, held) for held in cell.forecast.reliability)


def _reliability(stated: Sequence[tuple[str, Bin]]) -> Drawing:
    """The share of backdoored victims over the probability that was stated, with its Wilson interval."""
    title = "Reliability of the probabilities of a backdoor"
    alt = f"{title}: the share of backdoored victims over the stated probability, with the line where both agree"
    columns = ("method", "probability", "backdoored", "victims", "low", "high")
    rows = ((label, b.mean, *(getattr(b.backdoored, name) for name in _SHARE)) for label, b in stated)
    return Drawing.of("reliability", title, alt, lambda: _reliability_figure(stated), csv_text(columns, rows))


def _reliability_figure(stated: Sequence[tuple[str, Bin]]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 4.6), layout="constrained")
    axes, styles = figure.subplots(), looks(label for label, _ in stated)
    axes.plot([0, 1], [0, 1], color="#888888", linewidth=1, label="as stated")
    for label, look in styles.items():
        held = [b for name, b in stated if name == label]
        for b in held:
            axes.plot(
                [b.mean] * 2, [b.backdoored.low or 0.0, b.backdoored.high or 1.0], color=look["color"], linewidth=1
            )
        rates = [b.backdoored.rate or 0.0 for b in held]
        axes.plot([b.mean for b in held], rates, marker="o", markersize=6, label=label, **look)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.set_xlabel("probability of a backdoor", fontsize=10.5)
    axes.set_ylabel("share of backdoored victims", fontsize=10.5)
    plain(axes)
    figure.legend(loc="outside upper center", ncols=2, fontsize=9, frameon=False)
    return figure


def _curves(study: BudgetStudy, measure: Measure) -> Drawing:
    title = wording.MEASURES[measure]
    alt = f"{title} over the query budget, with one panel per service and one line per detector"
    return Drawing.of(f"curves-{measure}", title, alt, lambda: figure(study, measure), drawn_csv(study, measure))


def _spend(spends: Sequence[Spend]) -> Drawing:
    """Queries per scan: a dot at the median, and a line to the 90th percentile."""
    alt = "Queries per scan of each method: median and 90th percentile, for backdoored and for clean victims"
    return Drawing.of("queries", "Queries per scan", alt, lambda: _spend_figure(spends), _spend_csv(spends))


def _spend_figure(spends: Sequence[Spend]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 1.4 + 0.42 * len(spends)), layout="constrained")
    axes = figure.subplots()
    for row, spend in enumerate(spends):
        for (kind, colour), offset in zip(_KINDS, (-0.12, 0.12), strict=True):
            queries: Spread = getattr(spend, kind)
            if queries.median is not None and queries.p90 is not None and queries.median > 0:
                look: dict[str, Any] = {"color": colour, "solid_capstyle": "butt"}
                axes.plot([queries.median, max(queries.median, queries.p90)], [row + offset] * 2, linewidth=2, **look)
                axes.plot([queries.median], [row + offset], marker="o", markersize=6, **look)
    axes.set_yticks(range(len(spends)), [spend.label for spend in spends], fontsize=10.5)
    axes.invert_yaxis()
    logarithmic(axes, "x", (1.0, 2.0, 5.0))
    axes.set_xlabel("queries per scan (dot: median; line: to the 90th percentile)", fontsize=10.5)
    plain(axes, "x", hidden=("top", "right", "left"))
    handles = [axes.plot([], [], marker="o", color=colour, label=f"{kind} victims")[0] for kind, colour in _KINDS]
    figure.legend(handles=handles, loc="outside upper center", ncols=2, fontsize=10.5, frameon=False)
    return figure


def _spend_csv(spends: Sequence[Spend]) -> str:
    kinds = ("backdoored", "clean")
    columns = ("method", "scans", *(f"{kind}_{name}" for kind in kinds for name in ("median", "p90", "total")))
    rows = ((spend.label, spend.scans, *(v for kind in kinds for v in _amounts(spend, kind))) for spend in spends)
    return csv_text(columns, rows)


def _amounts(spend: Spend, kind: str) -> Iterator[float | None]:
    queries: Spread = getattr(spend, kind)
    yield from (queries.median, queries.p90, queries.total)
