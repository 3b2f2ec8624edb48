"""From lines of results to curves over budgets; what a line says of a budget is told in `standing`."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from simkit.errors import ConfigError
from simkit.zoo.spec import ZooSplit
from studies.budget.curves import Scale, curve
from studies.budget.data import BudgetStudy, Panel, UndecidedAs
from studies.budget.grid import covering
from studies.budget.standing import limit_of, stands
from studies.identity import canonical
from studies.result_line import ResultLine
from studies.table.data import Key
from studies.table.gather import Wanted, chosen, victims_of
from studies.table.lines import read_lines
from studies.table.methods import key_of, methods
from studies.zoo_scan.titles import TITLES


@dataclass(frozen=True)
class BudgetConfig:
    """Which curves are wanted, and how they count.

    split: the only one, see `studies.table.gather.Wanted`. zoos, detectors: their names, none for all. budgets: of the
    table, in queries, 1 or more; none for round ones that cover the data. pool: all zoos as one. undecided_as: what no
    verdict counts as.
    """

    split: ZooSplit | None = None
    zoos: tuple[str, ...] = ()
    detectors: tuple[str, ...] = ()
    budgets: tuple[int, ...] = ()
    pool: bool = False
    undecided_as: UndecidedAs = "wrong"

    def __post_init__(self) -> None:
        if any(budget < 1 for budget in self.budgets):
            raise ConfigError(f"a budget of {min(self.budgets)} queries; give 1 or more")


def gather_budget(files: Sequence[Path], config: BudgetConfig | None = None) -> BudgetStudy:
    """The curves of the lines of these files.

    Raises DataError on a line that cannot be used, see `read_lines`; ConfigError where none is of the split, zoo or
    detector, or none asked anything.
    """
    config = config or BudgetConfig()
    lines = read_lines(files)
    shown = _of_detectors(chosen(lines, Wanted(config.split, config.zoos)), config)
    if not any(line.asks for line in shown):
        names = ", ".join(dict.fromkeys(line.detector for line in shown))
        raise ConfigError(f"no line with queries: {names} looks at weights; add lines of a black box")
    budgets, span = _budgets(shown, config)
    scale = Scale(budgets, span, config.undecided_as)
    panels = tuple(_panel(own, scale) for own in _grouped(shown, pool=config.pool))
    split = shown[0].split
    left_out = Counter(line.split for line in lines if line.split != split)
    return BudgetStudy(split, config.undecided_as, budgets, span, panels, tuple(left_out.items()))


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
    run = {limit for line in asked if not stands(line) and (limit := limit_of(line)) is not None}
    ends = {limit for line in asked if line.stopped == "budget" and (limit := limit_of(line)) is not None}
    round_ones = covering({max(1, line.queries) for line in asked} | run | ends)
    told = tuple(sorted(set(config.budgets) or {*round_ones, *run}))
    return told, (min(told[0], round_ones[0]), max(told[-1], round_ones[-1]))


def _panel(lines: Sequence[ResultLine], scale: Scale) -> Panel:
    zoos = tuple(dict.fromkeys(line.zoo for line in lines))
    together = [_of_any_budget(line, " + ".join(zoos)) for line in lines]
    by_key: dict[Key, list[ResultLine]] = defaultdict(list)
    for line, same in zip(lines, together, strict=True):
        by_key[key_of(same)].append(line)
    found = methods(together, TITLES)
    asked = {key: own for key in found if (own := [line for line in by_key[key] if line.asks])}
    return Panel(
        zoos=zoos,
        victims=victims_of(lines),
        curves=tuple(curve(found[key], own, scale) for key, own in asked.items()),
        left_out=tuple(method.label for key, method in found.items() if key not in asked),
    )


def _of_any_budget(line: ResultLine, zoo: str) -> ResultLine:
    """The same whatever the budget, so that its lines at several budgets are of one method."""
    config = {name: value for name, value in line.config.items() if name != "budget"}
    digest = hashlib.sha256(canonical(config).encode()).hexdigest()
    return line.model_copy(update={"zoo": zoo, "config": config, "config_hash": digest})
