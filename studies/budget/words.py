"""What a study of budgets says in words, and its records as grids of them, for a terminal and for a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from types import MappingProxyType

from studies.budget.data import BudgetStudy, Curve, Panel, Point, UndecidedAs
from studies.report.figures import short
from studies.report.words import number
from studies.shares import Share
from studies.table import words
from studies.table.sections import Grid, Section, Shown

MEASURES: Mapping[str, Callable[[Point], Share]] = MappingProxyType(
    {
        "Verdicts right": lambda point: point.accuracy,
        "Caught (TPR)": lambda point: point.tpr,
        "Accused (FPR)": lambda point: point.fpr,
    }
)
"""What is drawn and told over budgets, by title."""

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
    " here, and those of a preset that refines its findings (`auto`, `race-wide`) by some 4,100 queries, which a line"
    " counts with the others: `simkit replay LEDGER --at` tells it of one scan.",
    "A detector of one's own that knows its budget may use it otherwise, and has a point at each budget that was run.",
)
"""How to read the figures."""


def title(study: BudgetStudy) -> str:
    """What it is, with the split."""
    return f"Verdicts by query budget, split {study.split}"


def counted(study: BudgetStudy) -> str:
    """What no verdict counts as, in one sentence."""
    return _COUNTED[study.undecided_as]


def panel_title(panel: Panel) -> str:
    """The zoo, or the zoos that are pooled."""
    return f"{panel.title}{' (pooled)' if len(panel.zoos) > 1 else ''}"


def sections(study: BudgetStudy) -> list[Section]:
    """All of it in the order to read it, but for the heading."""
    return [_panel(study, panel) for panel in study.panels]


def _panel(study: BudgetStudy, panel: Panel) -> Section:
    overviews = [_overview(study, panel, name) for name in MEASURES]
    details = list(map(_detail, panel.curves))
    return Section(panel_title(panel), words.victims_words(panel.victims), (*overviews, *details, _curves(panel)))


def _overview(study: BudgetStudy, panel: Panel, name: str) -> Grid:
    told: list[tuple[str, ...]] = []
    for curve in panel.curves:
        known = {point.budget: MEASURES[name](point) for point in curve.points}
        told.append((curve.label, *(_percent(known.get(budget)) for budget in study.budgets)))
    return Grid(f"{name}, in %, by budget", ("queries", *map(short, study.budgets)), tuple(told))


def _percent(value: Share | None) -> str:
    return words.NONE if value is None or value.rate is None else f"{100 * value.rate:.0f}"


def _detail(curve: Curve) -> Grid:
    columns = ("budget", "right", "caught (TPR)", "accused (FPR)", "undecided")
    rows = tuple(
        (
            number(point.budget),
            Shown(point.accuracy, words.right_words(point.accuracy)),
            words.share_words(point.tpr),
            words.share_words(point.fpr),
            words.counted(point.undecided),
        )
        for point in _telling(curve.points)
    )
    return Grid(curve.label, columns, rows, "A budget is left out where all is as at the one before.")


def _telling(points: Sequence[Point]) -> Iterator[Point]:
    """The first one, and each that is another than the one before but for its budget."""
    for before, point in pairwise((None, *points)):
        if point is not None and (before is None or replace(before, budget=point.budget) != point):
            yield point


def _curves(panel: Panel) -> Grid:
    columns = ("curve", "asks for", "victims", "budgets run", "differs in")
    rows = tuple(
        (
            curve.label,
            curve.service,
            f"{curve.victims}/{panel.victims.count}",
            ", ".join("no limit" if budget is None else short(budget) for budget in curve.budgets),
            words.changed_words(curve.changed) or words.NONE,
        )
        for curve in panel.curves
    )
    return Grid("Curves", columns, rows, " ".join(_notes(panel)))


def _notes(panel: Panel) -> Iterator[str]:
    for curve in panel.curves:
        if curve.end is not None:
            many = f"{curve.silent} {'victim' if curve.silent == 1 else 'victims'}"
            yield f"{curve.label} ends at {number(curve.end)} queries: its scans tell nothing of {many} beyond."
        if curve.staged:
            yield (
                f"{curve.label} scans in stages: at a smaller budget an early stage may have said clean already, so"
                " that its accuracy is a lower bound where undecided counts as wrong."
            )
        if not curve.stands:
            unlimited = "; a run without a limit has none" if None in curve.budgets else ""
            yield f"{curve.label} has points alone, at budgets that were run{unlimited}."
    if panel.left_out:
        yield f"Not on an axis of queries, since white boxes ask nothing: {', '.join(panel.left_out)}."
