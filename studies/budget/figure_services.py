"""What a restriction costs, as small multiples: a panel a service, a line a detector, the same axes in all."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from studies.budget import words
from studies.budget.data import BudgetStudy, Measure, Panel
from studies.budget.figure import ROW, columns_of, draw_curve, finish, looks, scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ACROSS = 3
"""Panels beside each other, at most."""

_WIDTH, _HEIGHT, _LETTERS = 9.6, 3.3, 10.5
"""In inches, of the picture and of a panel; in points. Legible where it is shown 800 pixels wide."""

_TITLE = 32
"""Letters of a panel's title in one line."""


def by_service(study: BudgetStudy, measure: Measure) -> Figure:
    """Of every zoo a panel a service, with one measure of every detector."""
    from matplotlib.figure import Figure

    rows = [(panel, services) for panel in study.panels for services in _rows(panel)]
    legend = looks(curve.name for panel in study.panels for curve in panel.curves)
    across = max(len(services) for _, services in rows)
    height = 1.1 + _HEIGHT * len(rows) + 1.2 * ROW * -(-len(legend) // columns_of(legend))
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    places = figure.subplots(len(rows), across, squeeze=False, sharex=True, sharey=True)
    for row, (panel, services) in zip(places, rows, strict=True):
        for axes, service in zip(row, services, strict=False):
            _draw(axes, study, measure, (panel, service), legend)
        for axes in row[len(services) :]:
            axes.set_visible(False)
        row[0].set_ylabel(words.axis(measure, panel.victims), fontsize=_LETTERS)
    finish(figure, study, legend, words.told_of(measure, study), _LETTERS)
    return figure


def _rows(panel: Panel) -> Iterator[tuple[str, ...]]:
    for first in range(0, len(panel.services), _ACROSS):
        yield panel.services[first : first + _ACROSS]


def _draw(axes: Axes, study: BudgetStudy, measure: Measure, shown: tuple[Panel, str], legend: dict[str, Any]) -> None:
    panel, service = shown
    scale(axes, study.span, _LETTERS, sparse=len(panel.services) > 1)
    several = f"{words.panel_title(panel)}: " if len(study.panels) > 1 else ""
    title = textwrap.fill(f"{several}{words.service_words(service)}", _TITLE, break_on_hyphens=False)
    axes.set_title(title, fontsize=_LETTERS + 0.5, fontweight="bold")
    axes.set_xlabel("query budget a victim", fontsize=_LETTERS)
    axes.tick_params(labelbottom=True)  # also above a panel that is left out
    if measure == "auroc":
        axes.yaxis.set_major_formatter(lambda value, _: f"{value / 100:g}")
    for curve in panel.curves:
        if curve.service == service:
            draw_curve(axes, study, curve, measure, legend[curve.name])
