"""Curves over budgets as JSON with all records, and as CSV with one row per curve and budget."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import asdict, astuple, fields
from io import StringIO
from typing import Any

from studies.render.figures import csv_text
from studies.results.budget import wording
from studies.results.budget.figure import drawn
from studies.results.budget.records import BudgetStudy, Measure, Paired, Point

_SHARES = ("accuracy", "tpr", "fpr", "undecided")


def to_json(study: BudgetStudy) -> dict[str, Any]:
    """All records as plain values, with notes on how to read them."""
    return asdict(study) | {"reading": [wording.counted(study), *wording.READING]}


def to_csv(study: BudgetStudy) -> str:
    """One row per curve and budget. Numbers are exact, and a field is empty where the value is unknown."""
    rows = list(_rows(study))
    stream = StringIO()
    writer = csv.DictWriter(stream, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def drawn_csv(study: BudgetStudy, measure: Measure) -> str:
    """The values that a figure of one measure draws, in [0, 1]: one row per curve and budget at which it changes."""
    columns = ("split", "zoo", "curve", "detector", "service", "budget", measure, "low", "high")
    rows = (
        (study.split, panel.title, curve.label, curve.detector, curve.service, int(budget), *map(_exact, rates))
        for panel in study.panels
        for curve in panel.curves
        for budget, *rates in drawn(curve, measure)
    )
    return csv_text(columns, rows)


def _exact(percent: float) -> str:
    return f"{percent / 100:.6g}"


def pairs_csv(study: BudgetStudy) -> str:
    """One row per pair of curves and budget."""
    rows = (
        (study.split, panel.title, pair.first, pair.second, *astuple(test))
        for panel in study.panels
        for pair in panel.pairs
        for test in pair.tests
    )
    return csv_text(("split", "zoo", "first", "second", *(field.name for field in fields(Paired))), rows)


def _rows(study: BudgetStudy) -> Iterator[dict[str, object]]:
    for panel in study.panels:
        place = {"split": study.split, "zoo": panel.title, "undecided_as": study.undecided_as}
        for curve in panel.curves:
            names = {"curve": curve.label, "name": curve.name, "detector": curve.detector, "service": curve.service}
            for point in curve.points:
                yield place | names | _figures(point)


def _figures(point: Point) -> dict[str, object]:
    row: dict[str, object] = {name: getattr(point, name) for name in ("budget", "victims", "backdoored", "clean")}
    for name in _SHARES:
        share = getattr(point, name)
        row |= {name: share.rate, f"{name}_hits": share.hits, f"{name}_low": share.low, f"{name}_high": share.high}
    ranking, cost = point.auroc, point.cost
    row |= {"auroc": ranking.auroc, "auroc_low": ranking.low, "auroc_high": ranking.high}
    row |= {
        "spent": point.spent,
        "cost_mean": cost and cost.mean,
        "cost_most": cost and cost.most,
        "currency": cost and cost.currency,
    }
    return row | {"unheld": point.unheld}


_COLUMNS = (
    *("split", "zoo", "undecided_as", "curve", "name", "detector", "service"),
    *("budget", "victims", "backdoored", "clean"),
    *(f"{name}{end}" for name in _SHARES for end in ("", "_hits", "_low", "_high")),
    *("auroc", "auroc_low", "auroc_high", "spent", "cost_mean", "cost_most", "currency", "unheld"),
)
