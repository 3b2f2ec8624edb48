"""Lays out a table's records as grids, the same for a terminal and for a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from studies.render import formats
from studies.render.formats import number
from studies.render.grids import Grid, Section, Shown
from studies.results.table import wording
from studies.results.table.cells import CLEAN
from studies.results.table.published import CONTEXT, MODELS, slides_table
from studies.results.table.records import Breakdown, Cell, Method, Pair, Table, ZooTable
from studies.scan.probability import chance_words
from studies.statistics import Share

_PAIRS = "Pairs on the same victims (McNemar's exact test, p adjusted by Holm's method)"

_LISTED = 4
"""With more methods than this, pairs are shown as a matrix."""


def sections(table: Table) -> list[Section]:
    """All sections of a table in reading order."""
    about = [_overview(table)] if len(table.zoos) > 1 else []
    return [*about, *(_zoo(zoo, table) for zoo in table.zoos), _methods(table), _slides()]


def verdict_grids(table: Table) -> list[Grid]:
    """The verdicts of every method, a grid for each zoo."""
    return [replace(_verdicts(zoo), title=f"{zoo.zoo}, {wording.victims_words(zoo.victims)}") for zoo in table.zoos]


def _overview(table: Table) -> Section:
    by_zoo = [{cell.method.label: cell.right for cell in zoo.cells} for zoo in table.zoos]
    labels = dict.fromkeys(label for cells in by_zoo for label in cells)
    rows = tuple((label, *(_right(cells.get(label)) for cells in by_zoo)) for label in labels)
    grid = Grid("", ("method", *(zoo.zoo for zoo in table.zoos)), rows)
    intro = "The share of correct verdicts, with its 95 % Wilson interval."
    return Section(f"Detection accuracy, {table.split} zoos", intro, (grid,))


def _right(value: Share | None) -> str | Shown:
    return formats.NONE if value is None else Shown(value, formats.right_words(value))


def _zoo(zoo: ZooTable, table: Table) -> Section:
    first = (_verdicts(zoo), *_probabilities(zoo, table.prior), _targets(zoo))
    grids = (*first, *_costs(zoo), *map(_breakdown, zoo.breakdowns), *_pairs(zoo))
    title = zoo.zoo if table.split == "report" else f"{zoo.zoo}, split {table.split}"  # figures are quoted on `report`
    return Section(title, wording.victims_words(zoo.victims), grids, wording.tries_words(zoo.tries))


def _verdicts(zoo: ZooTable) -> Grid:
    rows = tuple(
        (
            cell.method.label,
            _right(cell.right),
            formats.share_words(cell.rates.caught),
            formats.share_words(cell.rates.accused),
            formats.ranking_words(cell.ranking),
        )
        for cell in zoo.cells
    )
    return Grid("Verdicts", ("method", "accuracy", "TPR", "FPR", "AUROC"), rows, _incomplete(zoo))


def _probabilities(zoo: ZooTable, prior: float) -> Iterator[Grid]:
    """The quality of the methods' probabilities, and how often what they say is so; nothing where no method has any."""
    stated = [cell for cell in zoo.cells if cell.forecast.victims]
    if not stated:
        return
    rows = tuple(
        (
            cell.method.label,
            formats.average_words(cell.forecast.cross_entropy),
            formats.average_words(cell.forecast.brier),
            f"{cell.forecast.victims}/{cell.scans}" if cell.forecast.victims else formats.NONE,
        )
        for cell in zoo.cells
    )
    columns = ("method", "cross entropy", "Brier score", "victims with one")
    note = f"The probabilities assume that {100 * prior:g} % of all models have a backdoor, whatever the share here."
    yield Grid("Probability of a backdoor", columns, rows, note)
    bins = tuple(
        (cell.method.label, f"{held.low:.1f} to {held.high:.1f}", chance_words(held.mean), _right(held.backdoored))
        for cell in stated
        for held in cell.forecast.reliability
    )
    yield Grid("Reliability of the probabilities", ("method", "probability", "mean", "backdoored"), bins)


def _incomplete(zoo: ZooTable) -> str:
    """Which methods did not scan all victims, gave some of them no score, or used several sets of images."""
    remarks = [
        f"{cell.method.label} scanned {cell.scans} of {zoo.victims.count} victims"
        for cell in zoo.cells
        if cell.scans < zoo.victims.count
    ]
    remarks += [
        f"{cell.method.label} gave no score for {cell.ranking.unscored} of them"
        for cell in zoo.cells
        if cell.ranking.unscored
    ]
    remarks += [f"{c.method.label} used {c.image_sets} different sets of images" for c in zoo.cells if c.image_sets > 1]
    return "; ".join(remarks) + "." if remarks else ""


def _targets(zoo: ZooTable) -> Grid:
    columns = ("method", "target flagged", "only target", "undecided", "invalid", "seconds (median)")
    rows = tuple(
        (
            cell.method.label,
            *map(formats.share_words, (cell.target, cell.only_target)),
            *map(formats.counted, (cell.undecided, cell.invalid)),
            formats.amount(cell.seconds.median),
        )
        for cell in zoo.cells
    )
    return Grid("Flagged classes of the detected victims, and scans without a verdict", columns, rows)


def _costs(zoo: ZooTable) -> Iterator[Grid]:
    kinds = ("backdoored", "clean", "all", "total")
    asked = [cell for cell in zoo.cells if cell.method.service]
    if asked:
        yield _queries(asked, kinds)
    passed = [
        (f"{cell.method.label}, {way}", *wording.cost_words(cost))
        for cell in zoo.cells
        for way, cost in (("forward", cell.forward), ("backward", cell.backward))
        if cost is not None
    ]
    if passed:
        title = "White-box cost: images through the model per victim (median / p90)"
        yield Grid(title, ("method", *kinds), tuple(passed))


def _queries(cells: Sequence[Cell], kinds: tuple[str, ...]) -> Grid:
    images = any(cell.image_queries for cell in cells)  # only a detector without data makes images
    rows = tuple(
        (c.method.label, *wording.cost_words(c.queries), *([formats.amount(c.image_queries)] if images else []))
        for c in cells
    )
    columns = ("method", *kinds, *(["to make images"] if images else []))
    total = f"{number(sum(cell.queries.all.total for cell in cells))} queries in total."
    return Grid("Queries per victim (median / p90)", columns, rows, total)


def _breakdown(breakdown: Breakdown) -> Grid:
    names = [f"{CLEAN} (false positives)" if group == CLEAN else group for group in breakdown.groups]
    rows = tuple((row.method.label, *map(wording.rates_words, row.rates)) for row in breakdown.rows)
    mixed = any(rates.caught.trials and rates.accused.trials for row in breakdown.rows for rates in row.rates)
    note = "Detected among the backdoored victims, and below, false positives among the clean ones." if mixed else ""
    return Grid(f"Detected victims, by {wording.TITLES[breakdown.by]}", ("method", *names), rows, note)


def _pairs(zoo: ZooTable) -> Iterator[Grid]:
    if zoo.pairs:
        yield _list(zoo) if len(zoo.cells) <= _LISTED else _matrix(zoo)


def _list(zoo: ZooTable) -> Grid:
    columns = ("first", "second", "victims", "both right", "1st only", "2nd only", "neither", "p")
    rows = tuple((p.first.label, p.second.label, *_counts(p), wording.p_words(p)) for p in zoo.pairs)
    return Grid(_PAIRS, columns, rows)


def _counts(pair: Pair) -> tuple[str, ...]:
    return tuple(map(str, (pair.victims, pair.both, pair.only_first, pair.only_second, pair.neither)))


def _matrix(zoo: ZooTable) -> Grid:
    cells = {(pair.first.key, pair.second.key): wording.pair_words(pair) for pair in zoo.pairs}
    keys = [cell.method.key for cell in zoo.cells]
    rows = tuple(
        (f"{number} {cell.method.label}", *(cells.get((cell.method.key, key), "") for key in keys[1:]))
        for number, cell in enumerate(zoo.cells, start=1)
    )
    columns = ("method", *(str(number) for number in range(2, len(keys) + 1)))
    note = "Number of victims that only the row's method got right : only the column's method; below, the adjusted p."
    return Grid(_PAIRS, columns, rows, note)


def _methods(table: Table) -> Section:
    by_key: dict[tuple[str, str], Method] = {cell.method.key: cell.method for cell in _cells(table)}
    rows = tuple(
        (
            m.label,
            m.detector,
            m.service or "weights",
            budget_words(m),
            m.config_hash[:8],
            formats.changed_words(m.changed) or formats.NONE,
        )
        for m in by_key.values()
    )
    columns = ("method", "detector", "service", "budget", "config", "changed settings")
    return Section("Methods", "", (Grid("", columns, rows),))


def budget_words(method: Method) -> str:
    """The query budget per victim; `-` for a white-box detector."""
    if not method.service:
        return formats.NONE
    return "no limit" if method.budget is None else number(method.budget)


def _cells(table: Table) -> Iterator[Cell]:
    for zoo in table.zoos:
        yield from zoo.cells


def _slides() -> Section:
    rows = tuple((name, *map(_right, by_zoo.values())) for name, by_zoo in slides_table().items())
    grid = Grid("", ("method", *MODELS), rows)
    return Section("Figures from the slides, for other victims", CONTEXT, (grid,))
