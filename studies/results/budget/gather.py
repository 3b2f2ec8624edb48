"""From lines of results to curves over budgets; what a line says of a budget is told in `standing`."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from simkit.errors import ConfigError
from simkit.progress import OnProgress, unheard
from simkit.zoo.spec import ZooSplit
from studies.results.budget.curves import CurveSettings
from studies.results.budget.from_ledgers import words_of
from studies.results.budget.matching_ledgers import Ledgers
from studies.results.budget.panels import panel
from studies.results.budget.records import BudgetStudy, UndecidedAs
from studies.results.budget.verdict_at_budget import budget_of, stands
from studies.results.table.gather import Wanted, chosen
from studies.study.result_file import checked_lines
from studies.study.result_line import ResultLine


@dataclass(frozen=True)
class BudgetConfig:
    """Which curves are wanted, and how they count.

    split: the only one, see `table.gather.Wanted`. zoos, detectors: their names, none for all. budgets: of the
    table, in queries, 1 or more; none for round ones that cover the data. pool: all zoos as one. undecided_as: what no
    verdict counts as. by_service: a detector's services beside each other. price: of a thousand queries, 0 or more,
    None for what the services state. ledgers: where it says anything, see `Ledgers`.
    """

    split: ZooSplit | None = None
    zoos: tuple[str, ...] = ()
    detectors: tuple[str, ...] = ()
    budgets: tuple[int, ...] = ()
    pool: bool = False
    undecided_as: UndecidedAs = "wrong"
    by_service: bool = False
    price: float | None = None
    ledgers: Ledgers = field(default_factory=Ledgers)

    def __post_init__(self) -> None:
        if any(budget < 1 for budget in self.budgets):
            raise ConfigError(f"a budget of {min(self.budgets)} queries; give 1 or more")
        if self.price is not None and not 0 <= self.price < math.inf:
            raise ConfigError(f"a price of {self.price} per thousand queries; give 0 or more")


def gather_budget(
    files: Sequence[Path],
    config: BudgetConfig | None = None,
    told: OnProgress = unheard,
) -> BudgetStudy:
    """The curves of the lines of these files.

    told: how many ledgers of how many are read. Raises DataError on a line that cannot be used, see `checked_lines`;
    ConfigError where none is of the split, zoo or detector, or none asked anything; StorageError on the ledgers.
    """
    return curves_of(checked_lines(files), config or BudgetConfig(), told)


def curves_of(lines: Sequence[ResultLine], config: BudgetConfig, told: OnProgress) -> BudgetStudy:
    """The curves of these lines, each scan once. Raises as `gather_budget`, but for the lines."""
    shown = _of_detectors(chosen(lines, Wanted(config.split, config.zoos)), config)
    if not any(line.asks for line in shown):
        names = ", ".join(dict.fromkeys(line.detector for line in shown))
        raise ConfigError(f"no line with queries: {names} looks at weights; add lines of a black box")
    shown = config.ledgers.completed(shown)
    budgets, span = _budgets(shown, config)
    asked = [line for line in shown if line.asks]
    exact = words_of(asked, config.ledgers, budgets, told)
    scale = CurveSettings(budgets, span, config.undecided_as, config.price, exact)
    panels = tuple(panel(own, scale) for own in _grouped(shown, pool=config.pool))
    split = shown[0].split
    left_out = Counter(line.split for line in lines if line.split != split)
    return BudgetStudy(split, config.undecided_as, config.by_service, budgets, span, panels, tuple(left_out.items()))


def _of_detectors(lines: Sequence[ResultLine], config: BudgetConfig) -> list[ResultLine]:
    there = list(dict.fromkeys(line.detector for line in lines))
    for name in config.detectors:
        if name not in there:
            raise ConfigError(f"--detector {name}: no line of it; there are {', '.join(there)}")
    return [line for line in lines if not config.detectors or line.detector in config.detectors]


def _grouped(lines: Sequence[ResultLine], *, pool: bool) -> list[list[ResultLine]]:
    zoos: dict[str, list[ResultLine]] = defaultdict(list)
    for line in lines:
        zoos["" if pool else line.zoo].append(line)
    return list(zoos.values())


def _budgets(lines: Sequence[ResultLine], config: BudgetConfig) -> tuple[tuple[int, ...], tuple[int, int]]:
    """Those of the table, and the least and the largest that are drawn."""
    asked = [line for line in lines if line.asks]
    run = {limit for line in asked if not stands(line) and (limit := budget_of(line)) is not None}
    ends = {limit for line in asked if line.stopped == "budget" and (limit := budget_of(line)) is not None}
    took = {max(1, amount) for line in asked for amount in (line.decided_after, line.queries)}
    round_ones = covering(took | run | ends)
    told = tuple(sorted(set(config.budgets) or {*round_ones, *run}))
    return told, (min(told[0], round_ones[0]), max(told[-1], round_ones[-1]))


_STEPS = (1, 2, 3, 5)
"""Of every decade."""

LEAST = 8
"""Budgets of a grid, at least."""


def covering(amounts: Collection[int]) -> tuple[int, ...]:
    """1, 2, 3 and 5 of every decade, from the last one that no amount is below to the first that none is above.

    amounts: in queries, one or more of 1 or more. Where that gives fewer than 8 budgets, it goes on at both ends.
    """
    low, high = min(amounts), max(amounts)
    steps = [step * 10**decade for decade in range(len(str(high)) + 3) for step in _STEPS]
    first = max(i for i, step in enumerate(steps) if step <= low)
    last = min(i for i, step in enumerate(steps) if step >= high)
    while last - first + 1 < LEAST:
        last += 1
        first = max(0, first - 1)
    return tuple(steps[first : last + 1])
