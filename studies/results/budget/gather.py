"""Gathers curves over budgets from result lines; `verdict_at_budget` explains what a line says about a budget."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from simkit.errors import ConfigError
from simkit.progress import OnProgress, unheard
from simkit.zoo.spec import ZooSplit
from studies.results.budget.curves import CurveSettings
from studies.results.budget.from_ledgers import verdicts_of
from studies.results.budget.matching_ledgers import Ledgers
from studies.results.budget.panels import panel
from studies.results.budget.records import BudgetStudy, UndecidedAs
from studies.results.budget.verdict_at_budget import budget_of, stands
from studies.results.table.gather import Wanted, chosen
from studies.scan.price import Price
from studies.study.result_file import checked_lines
from studies.study.result_line import ResultLine


@dataclass(frozen=True)
class BudgetConfig:
    """Which curves to compute, and how.

    split: the split to show, see `table.gather.Wanted`. zoos, detectors: names of those to show; empty means all.
    budgets: budgets to tabulate, in queries, each at least 1; empty means round numbers that cover the data. pool:
    whether to treat all zoos as one. undecided_as: what a scan without a verdict counts as. by_service: whether to show
    a detector's services side by side. price: None means what the services state, as far as with a currency.
    ledgers: see `Ledgers`.
    """

    split: ZooSplit | None = None
    zoos: tuple[str, ...] = ()
    detectors: tuple[str, ...] = ()
    budgets: tuple[int, ...] = ()
    pool: bool = False
    undecided_as: UndecidedAs = "wrong"
    by_service: bool = False
    price: Price | None = None
    ledgers: Ledgers = field(default_factory=Ledgers)

    def __post_init__(self) -> None:
        if any(budget < 1 for budget in self.budgets):
            raise ConfigError(f"a budget of {min(self.budgets)} queries; give 1 or more")


def gather_budget(
    files: Sequence[Path],
    config: BudgetConfig | None = None,
    progress: OnProgress = unheard,
) -> BudgetStudy:
    """The curves of the lines in these files.

    progress: told how many ledgers are read. Raises DataError for an unusable line (see `checked_lines`), ConfigError
    where no line is of the split, zoo or detector or none has queries, and StorageError for the ledgers.
    """
    return curves_of(checked_lines(files), config or BudgetConfig(), progress)


def curves_of(lines: Sequence[ResultLine], config: BudgetConfig, progress: OnProgress) -> BudgetStudy:
    """The curves of these lines, each of another scan. Raises as `gather_budget`, except for unusable lines."""
    shown = _of_detectors(chosen(lines, Wanted(config.split, config.zoos)), config)
    if not any(line.asks for line in shown):
        names = ", ".join(dict.fromkeys(line.detector for line in shown))
        raise ConfigError(f"no result line has queries: {names} is white-box; add lines of a black-box detector")
    shown = config.ledgers.completed(shown)
    budgets, span = _budgets(shown, config)
    asked = [line for line in shown if line.asks]
    exact = verdicts_of(asked, config.ledgers, budgets, progress)
    scale = CurveSettings(budgets, span, config.undecided_as, config.price, exact)
    panels = tuple(panel(own, scale) for own in _grouped(shown, pool=config.pool))
    split = shown[0].split
    left_out = Counter(line.split for line in lines if line.split != split)
    return BudgetStudy(split, config.undecided_as, config.by_service, budgets, span, panels, tuple(left_out.items()))


def _of_detectors(lines: Sequence[ResultLine], config: BudgetConfig) -> list[ResultLine]:
    names = list(dict.fromkeys(line.detector for line in lines))
    for name in config.detectors:
        if name not in names:
            raise ConfigError(f"--detector {name}: no result line is of it; choose from {', '.join(names)}")
    return [line for line in lines if not config.detectors or line.detector in config.detectors]


def _grouped(lines: Sequence[ResultLine], *, pool: bool) -> list[list[ResultLine]]:
    zoos: dict[str, list[ResultLine]] = defaultdict(list)
    for line in lines:
        zoos["" if pool else line.zoo].append(line)
    return list(zoos.values())


def _budgets(lines: Sequence[ResultLine], config: BudgetConfig) -> tuple[tuple[int, ...], tuple[int, int]]:
    """The budgets of the table, and the smallest and the largest budget that are drawn."""
    asked = [line for line in lines if line.asks]
    run = {limit for line in asked if not stands(line) and (limit := budget_of(line)) is not None}
    ends = {limit for line in asked if line.stopped == "budget" and (limit := budget_of(line)) is not None}
    took = {max(1, amount) for line in asked for amount in (line.decided_after, line.queries)}
    round_ones = covering(took | run | ends)
    budgets = tuple(sorted(set(config.budgets) or {*round_ones, *run}))
    return budgets, (min(budgets[0], round_ones[0]), max(budgets[-1], round_ones[-1]))


_STEPS = (1, 2, 3, 5)
"""The round numbers of every decade."""

LEAST = 8
"""Minimum number of budgets of a grid."""


def covering(amounts: Collection[int]) -> tuple[int, ...]:
    """The round numbers (1, 2, 3 and 5 of every decade) that cover all amounts, extended at both ends to at least 8.

    amounts: in queries, each at least 1; at least one amount.
    """
    low, high = min(amounts), max(amounts)
    steps = [step * 10**decade for decade in range(len(str(high)) + 3) for step in _STEPS]
    first = max(i for i, step in enumerate(steps) if step <= low)
    last = min(i for i, step in enumerate(steps) if step >= high)
    while last - first + 1 < LEAST:
        last += 1
        first = max(0, first - 1)
    return tuple(steps[first : last + 1])
