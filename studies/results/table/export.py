"""A table as JSON with all records, and as CSV with one row per method, zoo and group of victims."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, fields
from io import StringIO
from types import MappingProxyType
from typing import Any

from studies.results.table.published import CONTEXT, slides_table
from studies.results.table.records import Cell, Cost, Rates, Table, ZooTable
from studies.results.table.wording import READING
from studies.statistics import Average, Forecast, Ranking, Share, Spread


def to_json(table: Table) -> dict[str, Any]:
    """All records as plain values, with notes on how to read them, and separately the figures of the slides."""
    slides = {name: {zoo: asdict(share) for zoo, share in row.items()} for name, row in slides_table().items()}
    return asdict(table) | {"reading": list(READING), "slides": {"context": CONTEXT, "right": slides}}


def to_csv(table: Table) -> str:
    """One row per method and zoo, in which `by` and `group` are empty, and one row per group of a breakdown.

    Numbers are exact. A field is empty where the value is unknown or does not apply to a group.
    """
    rows = [row for zoo in table.zoos for row in _rows(table, zoo)]
    stream = StringIO()
    writer = csv.DictWriter(stream, dict.fromkeys(name for row in rows for name in row), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def _rows(table: Table, zoo: ZooTable) -> Iterator[dict[str, object]]:
    place = {"split": table.split, "zoo": zoo.zoo}
    for cell in zoo.cells:
        yield place | _method(cell) | {"by": "", "group": ""} | _cell(cell) | {"tries": zoo.tries.configurations}
    of = {cell.method.key: cell for cell in zoo.cells}
    for breakdown in zoo.breakdowns:
        for row in breakdown.rows:
            for group, rates in zip(breakdown.groups, row.rates, strict=True):
                yield place | _method(of[row.method.key]) | {"by": breakdown.by, "group": group} | _rates(rates)


def _method(cell: Cell) -> dict[str, object]:
    method = cell.method
    names = {"method": method.label, "detector": method.detector, "config_hash": method.config_hash}
    return names | {"service": method.service, "budget": method.budget}


def _cell(cell: Cell) -> dict[str, object]:
    """All figures of a cell in the order of its fields, each as columns by its type."""
    row: dict[str, object] = {}
    for field in fields(cell)[1:]:  # the method has columns of its own
        value = getattr(cell, field.name)
        row |= _COLUMNS.get(str(field.type).removesuffix(" | None"), _plain)(field.name, value)
    return row


def _plain(name: str, value: object) -> dict[str, object]:
    return {name: value}


def _ranking(_: str, ranking: Ranking) -> dict[str, object]:
    area: dict[str, object] = {"auroc": ranking.auroc, "auroc_low": ranking.low, "auroc_high": ranking.high}
    return area | {"auroc_unscored": ranking.unscored}


def _forecast(_: str, forecast: Forecast) -> dict[str, object]:
    row: dict[str, object] = {"probabilities": forecast.victims}
    for name in ("cross_entropy", "brier"):
        average: Average | None = getattr(forecast, name)
        ends = (None, None, None) if average is None else (average.value, average.low, average.high)
        row |= dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))
    return row


def _spread(name: str, spread: Spread) -> dict[str, object]:
    return {f"{name}_median": spread.median}


def _rates(rates: Rates) -> dict[str, object]:
    return _share("caught", rates.caught) | _share("accused", rates.accused)


def _share(name: str, share: Share) -> dict[str, object]:
    return {name: share.hits, f"{name}_of": share.trials, f"{name}_low": share.low, f"{name}_high": share.high}


def _cost(name: str, cost: Cost | None) -> dict[str, object]:
    columns: dict[str, object] = {}
    for kind in ("backdoored", "clean", "all"):
        spread = None if cost is None else getattr(cost, kind)
        columns[f"{name}_{kind}_median"] = None if spread is None else spread.median
        columns[f"{name}_{kind}_p90"] = None if spread is None else spread.p90
    return columns | {f"{name}_total": None if cost is None else cost.all.total}


_COLUMNS: Mapping[str, Callable[[str, Any], dict[str, object]]] = MappingProxyType(
    {
        "Share": _share,
        "Rates": lambda _, rates: _rates(rates),
        "Ranking": _ranking,
        "Forecast": _forecast,
        "Cost": _cost,
        "Spread": _spread,
    }
)
"""The columns of a field, by the field's type."""
