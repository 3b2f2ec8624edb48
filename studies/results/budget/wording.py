"""What a study of budgets says in words, and its records as grids of them, for a terminal and for a page."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from types import MappingProxyType

from studies.render import formats
from studies.render.formats import money_words, number, short
from studies.render.grids import Grid, Section, Shown
from studies.results.budget.records import BudgetStudy, Curve, Measure, Paired, Panel, Point, UndecidedAs
from studies.results.table import wording
from studies.results.table.records import Victims
from studies.statistics import Share

MEASURES: Mapping[Measure, str] = MappingProxyType(
    {
        "accuracy": "Verdicts right",
        "tpr": "Caught (TPR)",
        "fpr": "Accused (FPR)",
        "undecided": "Undecided",
        "auroc": "AUROC",
    }
)
"""What is drawn and told over budgets, with its title."""

_SERVICES: Mapping[str, str] = MappingProxyType(
    {
        r"^label$|label_only": "label alone",
        r"\btop_k (\d+)\b|\btop(\d+)\b": r"top \1\2",
        r"\bdecimals (\d+)\b": r"rounded to \1 places",
        r"\bquantized\b": "uint8 images",
        r"\b(score|input)_noise\b": r"\1 noise",
    }
)
"""Of what `service_in_words` says, in a title."""

_SKIPPED = "A budget is left out where all verdicts are as at the one before."

_LEVEL = 0.05

_STARRED = f"A star: p below {_LEVEL:g}, McNemar's exact test, adjusted by Holm's method over the budgets of the pair."

_COUNTED: Mapping[UndecidedAs, str] = MappingProxyType(
    {
        "wrong": "A scan without a verdict at its budget counts as wrong, and as no accusation.",
        "clean": "A scan without a verdict at its budget counts as the verdict clean (--undecided-as clean).",
    }
)

READING = (
    "Bands and brackets are Wilson intervals (95 %).",
    "A verdict stands at every budget of at least the queries that it took; at a smaller one the scan had not decided."
    " A scan whose budget ends looks once more at what it has, so that TPR and FPR may rise a little earlier than told"
    " here. Curves that are read off ledgers (--exact) are exact in this, at the budgets that were asked for.",
    "A verdict is there before a preset refines what it found (`auto`, `race-wide`); what that costs is in the queries"
    " and the money, where the budget pays for it.",
    "AUROC is of the scores of scans that have ended. One that has not stands in the middle: above every verdict clean,"
    " below every verdict backdoored, level with all that are undecided. Where all have ended it is that of `simkit"
    " study table`. Its interval (95 %) is a bootstrap over victims.",
    "Queries and money are means over all victims, also those that the budget was too small for; a scan that ends early"
    " leaves the rest of its budget unspent.",
    "Pairs: McNemar's exact test, two-sided, on the victims in common; adjusted by Holm's method over the budgets of a"
    " pair, and not over pairs.",
    "A detector of one's own that knows its budget may use it otherwise, and has a point at each budget that was run.",
)
"""How to read the figures."""


def title(study: BudgetStudy) -> str:
    """What it is, with the split."""
    return f"Verdicts by query budget, split {study.split}"


def counted(study: BudgetStudy) -> str:
    """What no verdict counts as, and of which curves that makes a lower bound."""
    curves = [curve for panel in study.panels for curve in panel.curves if curve.staged and not curve.exact]
    said = _COUNTED[study.undecided_as]
    if not curves or study.undecided_as == "clean":
        return said
    return (
        f"{said} So {', '.join(dict.fromkeys(curve.name for curve in curves))} may be right earlier (--exact staged)."
    )


def told_of(measure: Measure, study: BudgetStudy) -> str:
    """What to know below a figure's title."""
    middle = "A scan without a verdict stands between those called clean and those called backdoored."
    return middle if measure == "auroc" else counted(study)


def panel_title(panel: Panel) -> str:
    """The zoo, or the zoos that are pooled."""
    return f"{panel.title}{' (pooled)' if len(panel.zoos) > 1 else ''}"


def axis(measure: Measure, victims: Victims) -> str:
    """A measure beside its axis, with how many victims it is of."""
    if measure == "auroc":
        return MEASURES[measure]
    of: dict[Measure, int] = {"tpr": victims.backdoored, "fpr": victims.clean}
    return f"{MEASURES[measure]}, % of {of.get(measure, victims.count)}"


def sections(study: BudgetStudy) -> list[Section]:
    """All of it in the order to read it, but for the heading."""
    return [_panel(study, panel) for panel in study.panels]


def _panel(study: BudgetStudy, panel: Panel) -> Section:
    services = list(_by_service(study, panel)) if study.by_service else []
    overviews = [_overview(study, panel.curves, title, cell) for title, cell in _CELLS.items()]
    money = [_costs(study, panel)] if any(curve.price is not None for curve in panel.curves) else []
    grids = (*services, *overviews, *money, *map(_detail, panel.curves), *_pairs(study, panel), _curves(panel))
    return Section(panel_title(panel), wording.victims_words(panel.victims), grids)


def _by_service(study: BudgetStudy, panel: Panel) -> Iterator[Grid]:
    """Of each detector a grid with a row a service, and how many verdicts are right."""
    for name in dict.fromkeys(curve.name for curve in panel.curves):
        own = [curve for curve in panel.curves if curve.name == name]
        own.sort(key=lambda curve: panel.services.index(curve.service))
        known = [{point.budget: point.accuracy for point in curve.points} for curve in own]
        rows = tuple(
            (service_words(curve.service), *(_percent(found.get(budget)) for budget in study.budgets))
            for curve, found in zip(own, known, strict=True)
        )
        title = f"{name}: verdicts right, in %, by what the service tells"
        yield Grid(title, ("queries", *map(short, study.budgets)), rows)


def service_words(service: str) -> str:
    """A service as a title: `top 5`, `label alone`, `rounded to 2 places, uint8 images`."""
    for pattern, said in _SERVICES.items():
        service = re.sub(pattern, said, service)
    return service


def _overview(study: BudgetStudy, curves: Sequence[Curve], title: str, cell: Callable[[Point], str]) -> Grid:
    told: list[tuple[str, ...]] = []
    for curve in curves:
        known = {point.budget: cell(point) for point in curve.points}
        told.append((curve.label, *(known.get(budget, formats.NONE) for budget in study.budgets)))
    return Grid(f"{title}, by budget", ("queries", *map(short, study.budgets)), tuple(told))


def _percent(value: Share | None) -> str:
    return formats.NONE if value is None or value.rate is None else f"{100 * value.rate:.0f}"


def _auroc(point: Point) -> str:
    return formats.NONE if point.auroc.auroc is None else f"{point.auroc.auroc:.2f}"


def _costs(study: BudgetStudy, panel: Panel) -> Grid:
    """The mean in money, and where one price holds for all, what a victim costs at most."""
    grid = _overview(study, panel.curves, "Cost a victim in money, mean", _money)
    prices = {curve.price for curve in panel.curves}
    price = prices.pop() if len(prices) == 1 else None
    if price is None:
        return grid
    most = ("at most", *(money_words(price * budget / 1000) for budget in study.budgets))
    return replace(grid, rows=(*grid.rows, most), note=f"{money_words(price)} for a thousand queries.")


def _money(point: Point) -> str:
    return formats.NONE if point.cost is None else money_words(point.cost.mean)


_CELLS: Mapping[str, Callable[[Point], str]] = MappingProxyType(
    {
        f"{MEASURES['accuracy']}, in %": lambda point: _percent(point.accuracy),
        f"{MEASURES['tpr']}, in %": lambda point: _percent(point.tpr),
        f"{MEASURES['fpr']}, in %": lambda point: _percent(point.fpr),
        f"{MEASURES['undecided']}, in %": lambda point: _percent(point.undecided),
        MEASURES["auroc"]: _auroc,
        "Queries a victim, mean": lambda point: formats.amount(round(point.spent)),
    }
)
"""What is told of all curves side by side, by title."""


def _detail(curve: Curve) -> Grid:
    columns = ("budget", "right", "caught (TPR)", "accused (FPR)", "undecided", "AUROC")
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
    """The first one, and each that is another than the one before but for its budget and its cost."""
    for before, point in pairwise((None, *points)):
        if point is None:
            continue
        if before is None or replace(before, budget=point.budget, spent=point.spent, cost=point.cost) != point:
            yield point


def _pairs(study: BudgetStudy, panel: Panel) -> Iterator[Grid]:
    """A row a pair, and what parts it at each budget."""
    rows = []
    for pair in panel.pairs:
        told = {test.budget: test_words(test) for test in pair.tests}
        victims = str(max(test.victims for test in pair.tests))
        rows.append((f"{pair.first} / {pair.second}", victims, *(told.get(b, formats.NONE) for b in study.budgets)))
    if rows:
        columns = ("first / second", "victims", *map(short, study.budgets))
        yield Grid("Victims that only the first, only the second has right, by budget", columns, tuple(rows), _STARRED)


def test_words(test: Paired) -> str:
    """`12:3*`: a star where the adjusted p value is below 0.05."""
    starred = "*" if test.adjusted < _LEVEL else ""
    return f"{test.only_first}:{test.only_second}{starred}" if test.only_first or test.only_second else "="


def _curves(panel: Panel) -> Grid:
    columns = ("curve", "asks for", "victims", "budgets run", "differs in")
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
            yield f"{curve.label} ends at {number(curve.end)} queries: its scans tell nothing of {many} beyond."
        if curve.staged and not curve.exact:
            yield (
                f"{curve.label} scans in stages: at a smaller budget an early stage may have said clean already, so"
                " that its accuracy is a lower bound where undecided counts as wrong; --exact staged tells it."
            )
        if not curve.stands:
            unlimited = "; a run without a limit has none" if None in curve.budgets else ""
            yield f"{curve.label} has points alone, at budgets that were run{unlimited}."
    if panel.left_out:
        yield f"Not on an axis of queries, since white boxes ask nothing: {', '.join(panel.left_out)}."


def _sources(curve: Curve) -> Iterator[str]:
    """Where the figures are from, if not from lines that say everything."""
    if curve.exact:
        rest = "" if curve.exact == curve.victims else "; what the others say is of their lines"
        yield f"{curve.label}: verdicts and scores of {curve.exact}/{curve.victims} are read off ledgers{rest}."
        if unheld := max((point.unheld for point in curve.points), default=0):
            yield f"{curve.label}: at some budget the ledgers of {unheld} do not tell the verdict: undecided."
    elif curve.refined:
        yield (
            f"{curve.label}: {curve.refined} lines do not tell the queries of the verdict from those of refining what"
            " was found, so that the curve rises later than the verdicts did; --ledgers tells them."
        )
