"""The records of curves over budgets: frozen data, gathered from result lines and rendered without them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from simkit.zoo.spec import ZooSplit
from studies.results.table.records import Victims
from studies.scan.price import Price
from studies.statistics import Ranking, Share

UndecidedAs: TypeAlias = Literal["wrong", "clean"]
"""What a scan without a verdict counts as: wrong, or the verdict `clean`, as if it had to decide when it ran out."""


Measure: TypeAlias = Literal["accuracy", "tpr", "fpr", "undecided", "auroc"]
"""A field of a point that is drawn over budgets."""


@dataclass(frozen=True)
class Money:
    """The cost per victim at a budget, in `currency`: the mean, and the most if all of it is spent."""

    mean: float
    most: float
    currency: str


@dataclass(frozen=True)
class Point:
    """A curve at one budget, in queries per victim.

    accuracy: share of correct verdicts. tpr, fpr: share of verdicts `backdoored` among backdoored and among clean
    victims. undecided: share of victims without a verdict, whatever they count as. auroc: see `results.budget.curves`;
    its interval is computed for the points of a table. spent: mean number of queries spent. cost: None without a price.
    unheld: number of victims whose ledger lacks answers that the verdict depends on, so that they count as undecided.
    """

    budget: int
    victims: int
    backdoored: int
    clean: int
    accuracy: Share
    tpr: Share
    fpr: Share
    undecided: Share
    auroc: Ranking
    spent: float
    cost: Money | None
    unheld: int = 0


@dataclass(frozen=True)
class Curve:
    """A detector with its settings and one service, over budgets.

    label: unique in its panel. name: the label without the service. service: the oracle's answers, in words. price:
    None where none is stated with its currency. changed: settings by dotted name, see
    `studies.results.table.changed`. victims: number of victims. budgets: those that scans were run with, None for no
    limit. stands: whether a verdict also holds at larger budgets; otherwise the curve consists of points at the budgets
    run. end: the largest budget at which all verdicts are known, None for no limit. silent: number of victims whose
    verdict is unknown beyond it. early: number of older lines
    whose `clean` may be that of an early stage, see `verdict_at_budget`. refined: number of
    older lines that count the queries of a refinement with those up to the verdict. exact: number of victims whose
    verdicts were computed from ledgers. points: at the tabulated budgets, as far as known. steps: at budgets where
    the curve changes, at most 200 of them, for drawing; the same as `points` for an exact curve.
    """

    label: str
    name: str
    detector: str
    service: str
    price: Price | None
    changed: tuple[tuple[str, str], ...]
    victims: int
    budgets: tuple[int | None, ...]
    stands: bool
    end: int | None
    silent: int
    early: int
    refined: int
    exact: int
    points: tuple[Point, ...]
    steps: tuple[Point, ...]


@dataclass(frozen=True)
class Paired:
    """Two curves compared at one budget, on the victims whose verdicts both know there.

    only_first, only_second: number of victims that only this curve gets right. p: of McNemar's exact two-sided test.
    adjusted: p adjusted by Holm's method over the budgets of the pair.
    """

    budget: int
    victims: int
    only_first: int
    only_second: int
    p: float
    adjusted: float


@dataclass(frozen=True)
class Pair:
    """Two curves, by their labels, that differ in detector or in service, with a comparison at each budget."""

    first: str
    second: str
    tests: tuple[Paired, ...]


@dataclass(frozen=True)
class Panel:
    """The curves of one zoo, or of several pooled zoos.

    services: the oracles' answers in words, from most to least informative. left_out: labels of white-box methods,
    which send no queries.
    """

    zoos: tuple[str, ...]
    victims: Victims
    services: tuple[str, ...]
    curves: tuple[Curve, ...]
    pairs: tuple[Pair, ...]
    left_out: tuple[str, ...]

    @property
    def title(self) -> str:
        return " + ".join(self.zoos)


@dataclass(frozen=True)
class BudgetStudy:
    """Panels of one split over the same budgets.

    by_service: whether to show a detector's services side by side. span: the smallest and the largest budget drawn.
    left_out: (split, number of lines) of other splits, which are never pooled with this one.
    """

    split: ZooSplit
    undecided_as: UndecidedAs
    by_service: bool
    budgets: tuple[int, ...]
    span: tuple[int, int]
    panels: tuple[Panel, ...]
    left_out: tuple[tuple[str, int], ...]
