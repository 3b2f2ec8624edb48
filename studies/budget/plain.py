"""A study of budgets for programs: JSON of everything, and CSV with one row a curve and budget."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import asdict
from io import StringIO
from typing import Any

from studies.budget import words
from studies.budget.data import BudgetStudy, Point

_SHARES = ("accuracy", "tpr", "fpr", "undecided")


def to_json(study: BudgetStudy) -> dict[str, Any]:
    """Plain values: the records as they are, and how to read them."""
    return asdict(study) | {"reading": [words.counted(study), *words.READING]}


def to_csv(study: BudgetStudy) -> str:
    """One row for each curve and budget. Exact numbers; an empty field is what is not known."""
    rows = list(_rows(study))
    said = StringIO()
    writer = csv.DictWriter(said, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return said.getvalue()


def _rows(study: BudgetStudy) -> Iterator[dict[str, object]]:
    for panel in study.panels:
        place = {"split": study.split, "zoo": panel.title, "undecided_as": study.undecided_as}
        for curve in panel.curves:
            known = {"curve": curve.label, "detector": curve.detector, "service": curve.service}
            for point in curve.points:
                yield place | known | _figures(point)


def _figures(point: Point) -> dict[str, object]:
    told: dict[str, object] = {name: getattr(point, name) for name in ("budget", "victims", "backdoored", "clean")}
    for name in _SHARES:
        share = getattr(point, name)
        told |= {name: share.rate, f"{name}_hits": share.hits, f"{name}_low": share.low, f"{name}_high": share.high}
    return told


_COLUMNS = (
    *("split", "zoo", "undecided_as", "curve", "detector", "service", "budget", "victims", "backdoored", "clean"),
    *(f"{name}{end}" for name in _SHARES for end in ("", "_hits", "_low", "_high")),
)
