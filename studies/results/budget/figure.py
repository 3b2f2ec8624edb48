"""The curves as one picture over a logarithmic budget axis, with one row per zoo or one panel per service."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simkit.errors import ConfigError
from studies.render.destinations import checked_place
from studies.render.figures import Form, axes_to_draw_on, in_short, looks, plain, rendered
from studies.results.budget import wording
from studies.results.budget.records import BudgetStudy, Curve, Measure, Panel, Point

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MEASURES: tuple[Measure, ...] = ("accuracy", "tpr", "fpr")
"""The measures drawn side by side."""

_WIDTH, _HEIGHT, ROW = 11.0, 3.1, 0.24
"""Width of the picture, height of a panel and height of a legend row, in inches."""


def checked_figure(path: Path, files: Sequence[Path]) -> tuple[Path, Form]:
    """The path, and its format by its suffix. Raises ConfigError for another suffix, and as `checked_place`."""
    forms: dict[str, Form] = {".png": "png", ".svg": "svg"}
    form = forms.get(path.suffix.lower())
    if form is None:
        raise ConfigError(f"--figure {path}: name a file that ends in {' or '.join(forms)}")
    return checked_place(path, files, forms), form


def draw(study: BudgetStudy, form: Form, measure: Measure = "accuracy") -> bytes:
    """The picture in that format; equal records give equal bytes on one machine.

    measure: the measure of a picture by service; a picture by zoo shows three measures.
    """
    return rendered(lambda: figure(study, measure), form)


def figure(study: BudgetStudy, measure: Measure = "accuracy") -> Figure:
    """The picture, which must be drawn under the settings of `render.figures`."""
    return by_service(study, measure) if study.by_service else measures(study)


def measures(study: BudgetStudy) -> Figure:
    """One row per zoo, with accuracy, TPR and FPR of every curve."""
    from matplotlib.figure import Figure

    legend = looks([curve.label for panel in study.panels for curve in panel.curves])
    lines = -(-len(legend) // columns_of(legend))
    figure = Figure(figsize=(_WIDTH, 0.9 + _HEIGHT * len(study.panels) + ROW * lines), layout="constrained")
    axes = figure.subplots(len(study.panels), len(_MEASURES), squeeze=False, sharex=True, sharey=True)
    for row, panel in zip(axes, study.panels, strict=True):
        _draw_panel(list(row), study, panel, legend)
    for lowest in axes[-1]:
        lowest.set_xlabel("query budget per victim")
    finish(figure, study, legend, wording.counted(study))
    return figure


def columns_of(legend: dict[str, dict[str, Any]]) -> int:
    """The number of legend columns that fit side by side."""
    return max(1, min(4, len(legend), 130 // (max(map(len, legend)) + 8)))


def finish(figure: Figure, study: BudgetStudy, legend: dict[str, dict[str, Any]], note: str, size: float = 9) -> None:
    """Add the title with a note below it, and the legend. size: of the legend's letters, in points."""
    lines = [wording.title(study), *textwrap.wrap(note, int(12 * figure.get_figwidth()), break_on_hyphens=False)]
    figure.suptitle("\n".join(lines), fontsize=size + 1.5)
    _add_legend(figure, legend, size)


def _add_legend(figure: Any, legend: dict[str, dict[str, Any]], size: float) -> None:
    handles, labels = _entries(legend)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns_of(legend), fontsize=size, frameon=False)


def _entries(legend: dict[str, dict[str, Any]]) -> tuple[list[Artist], list[str]]:
    from matplotlib.lines import Line2D

    # matplotlib leaves out a label that begins with _
    return [Line2D([], [], **look) for look in legend.values()], [f" {label}" for label in legend]


def _draw_panel(row: Sequence[Axes], study: BudgetStudy, panel: Panel, legend: dict[str, dict[str, Any]]) -> None:
    for axes, name in zip(row, _MEASURES, strict=True):
        scale(axes, study.span)
        axes.set_title(f"{wording.MEASURES[name]} ({wording.victims_counted(name, panel)})", fontsize=10)
        for curve in panel.curves:
            draw_curve(axes, study, curve, name, legend[curve.label])
    row[0].set_ylabel(f"{wording.panel_title(panel)}, %")


def one_panel(study: BudgetStudy, measure: Measure, axes: Axes | None = None) -> Axes:
    """Draw one measure of every curve of the only panel, on `axes` or on those of a new figure."""
    (panel,) = study.panels
    legend = looks(curve.label for curve in panel.curves)
    with axes_to_draw_on(axes, (8.0, 3.6 + ROW * -(-len(legend) // 2))) as target:
        scale(target, study.span)
        for curve in panel.curves:
            draw_curve(target, study, curve, measure, legend[curve.label])
        target.set_title(f"{wording.panel_title(panel)}, split {study.split}", fontsize=11)
        target.set_ylabel(wording.axis(measure, panel))
        target.set_xlabel("query budget per victim")
        if measure == "auroc":
            note = textwrap.fill(wording.measure_note(measure, study), 80)
            target.set_xlabel(f"query budget per victim\n{note}")
            target.yaxis.set_major_formatter(lambda value, _: f"{value / 100:g}")
        if axes is None:
            _add_legend(target.get_figure(root=True), legend, 9)
        else:
            handles, labels = _entries(legend)
            target.legend(handles, labels, loc="best", fontsize=8, frameon=False)
    return target


def draw_curve(axes: Axes, study: BudgetStudy, curve: Curve, name: Measure, look: dict[str, Any]) -> None:
    """Draw one measure of a curve: as steps with a band, as joined points, or as single points, by what is known."""
    values = list(drawn(curve, name))
    if not values:
        return
    budgets, rates, lows, highs = map(list, zip(*values, strict=True))
    if joined(curve, name) and curve.stands:
        axes.fill_between(budgets, lows, highs, color=look["color"], alpha=0.1, linewidth=0)
        axes.plot(budgets, rates, marker="o", markersize=3.5, **look)
    elif curve.stands:
        decided = [point.undecided.hits < point.victims for point in curve.steps for _ in _known([point], name)]
        band = {"where": decided, "step": "post", "color": look["color"], "alpha": 0.1, "linewidth": 0}
        axes.fill_between(budgets, lows, highs, **band)  # before the first verdict the bands of all curves coincide
        axes.plot(budgets, rates, drawstyle="steps-post", solid_capstyle="butt", **look)
        if curve.end is not None and curve.end <= study.span[1]:
            axes.plot(budgets[-1:], rates[-1:], marker="|", markersize=11, color=look["color"])
    else:
        spans = [
            [r - low for r, low in zip(rates, lows, strict=True)],
            [h - r for r, h in zip(rates, highs, strict=True)],
        ]
        axes.errorbar(budgets, rates, yerr=spans, fmt="o", color=look["color"], capsize=3)


def drawn(curve: Curve, measure: Measure) -> Iterator[tuple[float, ...]]:
    """The drawn values of a curve: budget, then rate and its interval in percent, wherever there is a rate."""
    return _known(curve.points if joined(curve, measure) else curve.steps, measure)


def joined(curve: Curve, measure: Measure) -> bool:
    """Whether the values of a curve are known only at its points."""
    return bool(curve.exact) or measure == "auroc"


def _known(points: Sequence[Point], name: Measure) -> Iterator[tuple[float, ...]]:
    for point in points:
        if name == "auroc":
            ranking = point.auroc
            rate, low, high = ranking.auroc, ranking.auroc if ranking.low is None else ranking.low, ranking.high
        else:
            share = getattr(point, name)
            rate, low, high = share.rate, share.low, share.high
        if rate is not None and low is not None:
            yield point.budget, 100 * rate, 100 * low, 100 * (rate if high is None else high)


def scale(axes: Axes, span: tuple[int, int], size: float = 9, *, sparse: bool = False) -> None:
    """Set up the logarithmic query axis and the percent axis. size: of their letters, in points. sparse: few ticks."""
    from matplotlib.ticker import FixedLocator, NullLocator

    least, most = span
    steps = (1,) if sparse and most >= 300 * least else (1, 3) if most >= 30 * least else (1, 2, 3, 5)
    marks = [s * 10**decade for decade in range(len(str(most))) for s in steps if least <= s * 10**decade <= most]
    axes.set_xscale("log")
    axes.set_xlim(least, most)
    axes.set_ylim(-3, 103)
    axes.xaxis.set_major_locator(FixedLocator(marks))
    axes.xaxis.set_minor_locator(NullLocator())
    in_short(axes.xaxis)
    axes.tick_params(labelsize=size)
    plain(axes)


_ACROSS = 3
"""Maximum number of panels side by side."""

_SERVICE_WIDTH, _SERVICE_HEIGHT, _LETTERS = 9.6, 3.3, 10.5
"""Width of the picture and height of a panel in inches, and letter size in points, legible at 800 pixels of width."""

_TITLE = 32
"""Maximum number of characters in one line of a panel's title."""


def by_service(study: BudgetStudy, measure: Measure) -> Figure:
    """One panel per zoo and service, with one measure of every detector."""
    from matplotlib.figure import Figure

    rows = [(panel, services) for panel in study.panels for services in _rows(panel)]
    legend = looks(curve.name for panel in study.panels for curve in panel.curves)
    across = max(len(services) for _, services in rows)
    height = 1.1 + _SERVICE_HEIGHT * len(rows) + 1.2 * ROW * -(-len(legend) // columns_of(legend))
    figure = Figure(figsize=(_SERVICE_WIDTH, height), layout="constrained")
    places = figure.subplots(len(rows), across, squeeze=False, sharex=True, sharey=True)
    for row, (panel, services) in zip(places, rows, strict=True):
        for axes, service in zip(row, services, strict=False):
            _draw(axes, study, measure, (panel, service), legend)
        for axes in row[len(services) :]:
            axes.set_visible(False)
        row[0].set_ylabel(wording.axis(measure, panel), fontsize=_LETTERS)
    finish(figure, study, legend, wording.measure_note(measure, study), _LETTERS)
    return figure


def _rows(panel: Panel) -> Iterator[tuple[str, ...]]:
    for first in range(0, len(panel.services), _ACROSS):
        yield panel.services[first : first + _ACROSS]


def _draw(axes: Axes, study: BudgetStudy, measure: Measure, shown: tuple[Panel, str], legend: dict[str, Any]) -> None:
    panel, service = shown
    scale(axes, study.span, _LETTERS, sparse=len(panel.services) > 1)
    several = f"{wording.panel_title(panel)}: " if len(study.panels) > 1 else ""
    title = textwrap.fill(f"{several}{wording.service_words(service)}", _TITLE, break_on_hyphens=False)
    axes.set_title(title, fontsize=_LETTERS + 0.5, fontweight="bold")
    axes.set_xlabel("query budget per victim", fontsize=_LETTERS)
    axes.tick_params(labelbottom=True)  # also where the panel below is left out
    if measure == "auroc":
        axes.yaxis.set_major_formatter(lambda value, _: f"{value / 100:g}")
    for curve in panel.curves:
        if curve.service == service:
            draw_curve(axes, study, curve, measure, legend[curve.name])
