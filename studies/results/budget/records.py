"""What a study of budgets says, as frozen records: gathered from lines of results, and rendered without them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from simkit.zoo.spec import ZooSplit
from studies.results.table.records import Victims
from studies.statistics import Ranking, Share

UndecidedAs: TypeAlias = Literal["wrong", "clean"]
"""What a scan without a verdict counts as: wrong, or the verdict `clean`, as of a prober who must answer at the cap."""


Measure: TypeAlias = Literal["accuracy", "tpr", "fpr", "undecided", "auroc"]
"""A figure of a point that is drawn over budgets."""


@dataclass(frozen=True)
class Money:
    """What a victim costs at a budget, in the money of the price: on average, and at most, with the budget spent."""

    mean: float
    most: float


@dataclass(frozen=True)
class Point:
    """A curve at one budget, in queries a victim.

    accuracy: verdicts that are the truth, of all victims. tpr, fpr: verdicts `backdoored`, of the backdoored and of the
    clean. undecided: victims without a verdict by then, whatever they count as. auroc: see `results.budget.curves`, its
    interval where a table shows the point. spent: queries by then, the mean of all victims. cost: None without a price.
    unheld: victims whose ledger does not hold all that the verdict hangs on, which counts as undecided.
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
    """A detector with its settings behind one service, over budgets.

    label: unlike that of any other curve of its panel. name: the label without the service, the same behind each.
    service: what the oracle tells, in words. price: of a thousand queries, None where nobody says. changed: settings,
    by dotted name, that set it apart from others of that detector. budgets: those that were run, None for no limit.
    stands: whether its verdicts stand at larger budgets; else it has points where it was run and nothing between. end:
    the largest budget that the lines tell of, None for no end; silent: victims of which they tell nothing beyond.
    staged: whether accuracy is a lower bound, see `standing`. refined: lines that count a refinement with the queries
    of the verdict, being older than the field that parts them. exact: victims whose ledgers are read. points: at the
    budgets asked for, as far as they are known. steps: wherever anything changes, to be drawn; of an exact curve the
    points themselves.
    """

    label: str
    name: str
    detector: str
    service: str
    price: float | None
    changed: tuple[tuple[str, str], ...]
    victims: int
    budgets: tuple[int | None, ...]
    stands: bool
    end: int | None
    silent: int
    staged: bool
    refined: int
    exact: int
    points: tuple[Point, ...]
    steps: tuple[Point, ...]


@dataclass(frozen=True)
class Paired:
    """Two curves at one budget, on the victims that both tell of there.

    only_first, only_second: victims that one curve has right and the other has not. p: of McNemar's exact test,
    two-sided; adjusted: by Holm's method over the budgets of the pair.
    """

    budget: int
    victims: int
    only_first: int
    only_second: int
    p: float
    adjusted: float


@dataclass(frozen=True)
class Pair:
    """Two curves, by their labels, that differ in their detector or in their service, at each budget in question."""

    first: str
    second: str
    tests: tuple[Paired, ...]


@dataclass(frozen=True)
class Panel:
    """The curves of one zoo, or of several pooled.

    services: what the oracles tell, in words, from most to least. left_out: detectors without a place on an axis of
    queries.
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
    """Panels of one split over the same budgets. span: the least and the largest budget that are drawn.

    left_out: (split, lines) of the others, which are never pooled with it. by_service: whether to show a detector's
    services beside each other.
    """

    split: ZooSplit
    undecided_as: UndecidedAs
    by_service: bool
    budgets: tuple[int, ...]
    span: tuple[int, int]
    panels: tuple[Panel, ...]
    left_out: tuple[tuple[str, int], ...]
