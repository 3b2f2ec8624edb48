"""A table for programs: JSON of everything, and CSV with one row a method, zoo and group of victims."""

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
from studies.statistics import Ranking, Share, Spread


def to_json(table: Table) -> dict[str, Any]:
    """Plain values: the records as they are, how to read them, and the slides' figures apart from them."""
    slides = {name: {zoo: asdict(share) for zoo, share in row.items()} for name, row in slides_table().items()}
    return asdict(table) | {"reading": list(READING), "slides": {"context": CONTEXT, "right": slides}}


def to_csv(table: Table) -> str:
    """One row for each method and zoo, `by` and `group` empty, and one for each group of a breakdown.

    Exact numbers; an empty field is what is not known, or what a group's row does not say.
    """
    rows = [row for zoo in table.zoos for row in _rows(table, zoo)]
    said = StringIO()
    writer = csv.DictWriter(said, dict.fromkeys(name for row in rows for name in row), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return said.getvalue()


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
    known = {"method": method.label, "detector": method.detector, "config_hash": method.config_hash}
    return known | {"service": method.service, "budget": method.budget}


def _cell(cell: Cell) -> dict[str, object]:
    """Every figure of a cell in the order of its fields, each by its type."""
    told: dict[str, object] = {}
    for field in fields(cell)[1:]:  # the method is told already
        value = getattr(cell, field.name)
        told |= _COLUMNS.get(str(field.type).removesuffix(" | None"), _plain)(field.name, value)
    return told


def _plain(name: str, value: object) -> dict[str, object]:
    return {name: value}


def _ranking(_: str, found: Ranking) -> dict[str, object]:
    return {"auroc": found.auroc, "auroc_low": found.low, "auroc_high": found.high, "auroc_unscored": found.unscored}


def _spread(name: str, spread: Spread) -> dict[str, object]:
    return {f"{name}_median": spread.median}


def _rates(rates: Rates) -> dict[str, object]:
    return _share("caught", rates.caught) | _share("accused", rates.accused)


def _share(name: str, share: Share) -> dict[str, object]:
    return {name: share.hits, f"{name}_of": share.trials, f"{name}_low": share.low, f"{name}_high": share.high}


def _cost(name: str, cost: Cost | None) -> dict[str, object]:
    told: dict[str, object] = {}
    for kind in ("backdoored", "clean", "all"):
        spread = None if cost is None else getattr(cost, kind)
        told[f"{name}_{kind}_median"] = None if spread is None else spread.median
        told[f"{name}_{kind}_p90"] = None if spread is None else spread.p90
    return told | {f"{name}_total": None if cost is None else cost.all.total}


_COLUMNS: Mapping[str, Callable[[str, Any], dict[str, object]]] = MappingProxyType(
    {
        "Share": _share,
        "Rates": lambda _, rates: _rates(rates),
        "Ranking": _ranking,
        "Cost": _cost,
        "Spread": _spread,
    }
)
"""The columns of a figure by its type."""
