"""The text of curves over budgets, and their records as grids, the same for a terminal and for a page."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from types import MappingProxyType

from studies.render import formats
from studies.render.formats import money_amount, money_words, number, short
from studies.render.grids import Grid, Section, Shown
from studies.results.budget.order import DEFINITION
from studies.results.budget.records import BudgetStudy, Curve, Measure, Paired, Panel, Point, UndecidedAs
from studies.results.table import wording
from studies.results.table.records import Victims
from studies.results.table.wording import RANKING_INTERVAL
from studies.statistics import Share

MEASURES: Mapping[Measure, str] = MappingProxyType(
    {
        "accuracy": "Detection accuracy",
        "tpr": "TPR",
        "fpr": "FPR",
        "undecided": "Undecided",
        "auroc": "AUROC",
    }
)
"""The title of each measure."""

_SERVICES: Mapping[str, str] = MappingProxyType(
    {
        r"^label$|label_only": "label-only",
        r"\btop_k (\d+)\b|\btop(\d+)\b": r"top-\1\2",
        r"\bdecimals (\d+)\b": r"rounded to \1 decimals",
        r"\bquantized\b": "uint8 images",
        r"\b(score|input)_noise\b": r"\1 noise",
    }
)
"""Replacements that turn the words of `service_in_words` into a title."""

_SKIPPED = "A budget is left out where nothing changed since the one before."

_LEVEL = 0.05

_STARRED = (
    f"A star marks p < {_LEVEL:g} in McNemar's exact test, adjusted by Holm's method over the budgets of the pair."
)

_COUNTED: Mapping[UndecidedAs, str] = MappingProxyType(
    {
        "wrong": "A scan without a verdict at its budget counts as wrong, but not as a false positive.",
        "clean": "A scan without a verdict at its budget counts as the verdict clean (--undecided-as clean).",
    }
)

_LEVEL_RANK = (
    "A scan without a verdict ranks below every verdict backdoored and level with all others, never above clean."
)
"""The part of the definition of AUROC that a curve over budgets turns on, for the place below its title."""

READING = (
    "Bands and brackets are 95 % Wilson intervals.",
    "A verdict holds at every budget of at least the queries that it took; at a smaller budget the scan is undecided."
    " When its budget runs out, a scan checks its candidates once more, so TPR and FPR may rise slightly earlier than"
    " shown here. Curves computed from ledgers (--exact) are exact in this respect at the tabulated budgets.",
    "A verdict is reached before a preset refines the trigger that it found (`auto`, `race-wide`). Queries and money"
    " include the cost of refining where the budget covers it.",
    f"{DEFINITION} {RANKING_INTERVAL}",
    "Queries and money are means over all victims, including those for which the budget was too small; a scan that ends"
    " early leaves the rest of its budget unspent.",
    "Pairs are compared by McNemar's exact two-sided test on their common victims, adjusted by Holm's method over the"
    " budgets of a pair, but not over pairs.",
    "A user's own detector knows its budget and may plan by it, so it has a point at each budget that was run.",
)
"""How to read the figures."""


def title(study: BudgetStudy) -> str:
    """The title, with the split."""
    return f"Verdicts by query budget, split {study.split}"


def counted(study: BudgetStudy) -> str:
    """What a scan without a verdict counts as."""
    return _COUNTED[study.undecided_as]


def measure_note(measure: Measure, study: BudgetStudy) -> str:
    """The note below a figure's title."""
    return _LEVEL_RANK if measure == "auroc" else counted(study)


def panel_title(panel: Panel) -> str:
    """The zoo, or the zoos that are pooled."""
    return f"{panel.title}{' (pooled)' if len(panel.zoos) > 1 else ''}"


def axis(measure: Measure, panel: Panel) -> str:
    """The label of a measure's axis, with the number of victims."""
    return MEASURES[measure] if measure == "auroc" else f"{MEASURES[measure]}, % ({victims_counted(measure, panel)})"


def victims_counted(measure: Measure, panel: Panel) -> str:
    """The number of victims that a measure is a share of, such as `n = 107`: the least and the most of all curves."""
    points = [point for curve in panel.curves for point in (*curve.points, *curve.steps)]
    numbers = [_counted_by(measure, point) for point in points] or [_counted_by(measure, panel.victims)]
    least, most = min(numbers), max(numbers)
    return f"n = {most}" if least == most else f"n = {least} to {most}"


def _counted_by(measure: Measure, victims: Victims | Point) -> int:
    if measure in ("tpr", "fpr"):
        return victims.backdoored if measure == "tpr" else victims.clean
    return victims.victims if isinstance(victims, Point) else victims.count


def sections(study: BudgetStudy) -> list[Section]:
    """All sections in reading order, without the heading."""
    return [_panel(study, panel) for panel in study.panels]


def _panel(study: BudgetStudy, panel: Panel) -> Section:
    services = list(_by_service(study, panel)) if study.by_service else []
    overviews = [_overview(study, panel.curves, title, cell) for title, cell in _CELLS.items()]
    overviews = [replace(g, note=_LEVEL_RANK) if g.title.startswith(MEASURES["auroc"]) else g for g in overviews]
    money = [_costs(study, panel)] if any(curve.price is not None for curve in panel.curves) else []
    grids = (*services, *overviews, *money, *map(_detail, panel.curves), *_pairs(study, panel), _curves(panel))
    return Section(panel_title(panel), wording.victims_words(panel.victims), grids)


def _by_service(study: BudgetStudy, panel: Panel) -> Iterator[Grid]:
    """One grid per detector, with the detection accuracy in one row per service."""
    for name in dict.fromkeys(curve.name for curve in panel.curves):
        own = [curve for curve in panel.curves if curve.name == name]
        own.sort(key=lambda curve: panel.services.index(curve.service))
        accuracies = [{point.budget: point.accuracy for point in curve.points} for curve in own]
        rows = tuple(
            (service_words(curve.service), *(_percent(by_budget.get(budget)) for budget in study.budgets))
            for curve, by_budget in zip(own, accuracies, strict=True)
        )
        title = f"{name}: detection accuracy in %, by service"
        yield Grid(title, ("queries", *map(short, study.budgets)), rows)


def service_words(service: str) -> str:
    """A service as a title, as in `top-5`, `label-only`, `rounded to 2 decimals, uint8 images`."""
    for pattern, words in _SERVICES.items():
        service = re.sub(pattern, words, service)
    return service


def _overview(study: BudgetStudy, curves: Sequence[Curve], title: str, cell: Callable[[Point], str]) -> Grid:
    rows: list[tuple[str, ...]] = []
    for curve in curves:
        cells = {point.budget: cell(point) for point in curve.points}
        rows.append((curve.label, *(cells.get(budget, formats.NONE) for budget in study.budgets)))
    return Grid(f"{title}, by budget", ("queries", *map(short, study.budgets)), tuple(rows))


def _percent(value: Share | None) -> str:
    return formats.NONE if value is None else formats.percent_words(value).replace(" ", "\n")


def _costs(study: BudgetStudy, panel: Panel) -> Grid:
    """The mean cost per victim, and where all curves have one price, the maximum cost per victim."""
    prices = {curve.price for curve in panel.curves}
    currencies = {price.currency for price in prices if price is not None}
    one = currencies.pop() if len(currencies) == 1 else None
    title = "Mean cost per victim" + (f" in {one}" if one else "")
    grid = _overview(study, panel.curves, title, _amount if one else _money)
    price = prices.pop() if len(prices) == 1 else None
    if price is None:
        return grid
    most = ("at most", *(money_amount(price.of(budget)) for budget in study.budgets))
    words = money_words(price.per_thousand, price.currency)
    return replace(grid, rows=(*grid.rows, most), note=f"The price is {words} per thousand queries.")


def _amount(point: Point) -> str:
    return formats.NONE if point.cost is None else money_amount(point.cost.mean)


def _money(point: Point) -> str:
    return formats.NONE if point.cost is None else money_words(point.cost.mean, point.cost.currency)


_CELLS: Mapping[str, Callable[[Point], str]] = MappingProxyType(
    {
        f"{MEASURES['accuracy']} in %": lambda point: _percent(point.accuracy),
        f"{MEASURES['tpr']} in %": lambda point: _percent(point.tpr),
        f"{MEASURES['fpr']} in %": lambda point: _percent(point.fpr),
        f"{MEASURES['undecided']} in %": lambda point: _percent(point.undecided),
        MEASURES["auroc"]: lambda point: formats.ranking_words(point.auroc).replace(" ", "\n", 1),
        "Mean queries per victim": lambda point: formats.amount(round(point.spent)),
    }
)
"""The cells of the grids that show all curves, by the grid's title."""


def _detail(curve: Curve) -> Grid:
    columns = ("budget", "accuracy", "TPR", "FPR", "undecided", "AUROC")
    rows = tuple(
        (
            number(point.budget),
            Shown(point.accuracy, formats.right_words(point.accuracy)),
            formats.share_words(point.tpr),
            formats.share_words(point.fpr),
            formats.counted(point.undecided),
            formats.ranking_words(point.auroc),
        )
        for point in _telling(curve.points)
    )
    return Grid(curve.label, columns, rows, _SKIPPED)


def _telling(points: Sequence[Point]) -> Iterator[Point]:
    """The first point, and each point that differs from the one before in more than budget and cost."""
    for before, point in pairwise((None, *points)):
        if point is None:
            continue
        if before is None or replace(before, budget=point.budget, spent=point.spent, cost=point.cost) != point:
            yield point


def _pairs(study: BudgetStudy, panel: Panel) -> Iterator[Grid]:
    """One row per pair, with the comparison at each budget."""
    rows = []
    for pair in panel.pairs:
        cells = {test.budget: test_words(test) for test in pair.tests}
        victims = str(max(test.victims for test in pair.tests))
        rows.append((f"{pair.first} / {pair.second}", victims, *(cells.get(b, formats.NONE) for b in study.budgets)))
    if rows:
        columns = ("first / second", "victims", *map(short, study.budgets))
        title = "Victims that only the first : only the second gets right, by budget"
        yield Grid(title, columns, tuple(rows), _STARRED)


def test_words(test: Paired) -> str:
    """The discordant victims, as in `12:3*`, with a star where the adjusted p value is below 0.05."""
    starred = "*" if test.adjusted < _LEVEL else ""
    return f"{test.only_first}:{test.only_second}{starred}" if test.only_first or test.only_second else "="


def _curves(panel: Panel) -> Grid:
    columns = ("curve", "service", "victims", "budgets run", "changed settings")
    rows = tuple(
        (
            curve.label,
            curve.service,
            f"{curve.victims}/{panel.victims.count}",
            ", ".join("no limit" if budget is None else short(budget) for budget in curve.budgets),
            formats.changed_words(curve.changed) or formats.NONE,
        )
        for curve in panel.curves
    )
    return Grid("Curves", columns, rows, " ".join(_notes(panel)))


def _notes(panel: Panel) -> Iterator[str]:
    for curve in panel.curves:
        yield from _sources(curve)
        if curve.end is not None:
            many = f"{curve.silent} {'victim' if curve.silent == 1 else 'victims'}"
            yield (
                f"{curve.label} ends at {number(curve.end)} queries, since the verdicts on {many} at larger budgets"
                " are unknown."
            )
        if curve.early and not curve.exact:
            yield (
                f"{curve.label} scans in several stages, and in {curve.early} of their older lines clean may be the"
                " verdict of an early one; it would be undecided now. --exact staged computes it from ledgers."
            )
        if not curve.stands:
            unlimited = "; a run without a limit has no point" if None in curve.budgets else ""
            yield f"{curve.label} has points only at the budgets that were run{unlimited}."
    if panel.left_out:
        yield f"Left out, since white-box detectors send no queries: {', '.join(panel.left_out)}."


def _sources(curve: Curve) -> Iterator[str]:
    """Notes on figures that were computed from ledgers, and on older lines that lack a field."""
    if curve.exact:
        rest = "" if curve.exact == curve.victims else "; those of the others are taken from their result lines"
        yield (
            f"{curve.label}: verdicts and scores of {curve.exact}/{curve.victims} victims are computed from"
            f" ledgers{rest}."
        )
        if unheld := max((point.unheld for point in curve.points), default=0):
            yield (
                f"{curve.label}: at some budget the ledgers of {unheld} victims lack answers that the verdict depends"
                " on; these count as undecided."
            )
    elif curve.refined:
        yield (
            f"{curve.label}: {curve.refined} older lines count the queries of refining a trigger together with those"
            " up to the verdict, so the curve rises later than the verdicts were reached; --ledgers corrects this."
        )
