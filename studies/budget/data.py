"""What a study of budgets says, as frozen records: gathered from lines of results, and rendered without them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from simkit.zoo.spec import ZooSplit
from studies.shares import Share
from studies.table.data import Victims

UndecidedAs: TypeAlias = Literal["wrong", "clean"]
"""What a scan without a verdict counts as: wrong, or the verdict `clean`, as of a prober who must answer at the cap."""


@dataclass(frozen=True)
class Point:
    """A curve at one budget, in queries a victim.

    accuracy: verdicts that are the truth, of all victims. tpr, fpr: verdicts `backdoored`, of the backdoored and of the
    clean. undecided: victims without a verdict by then, whatever they count as.
    """

    budget: int
    victims: int
    backdoored: int
    clean: int
    accuracy: Share
    tpr: Share
    fpr: Share
    undecided: Share


@dataclass(frozen=True)
class Curve:
    """A detector with its settings behind one service, over budgets.

    label: unlike that of any other curve of its panel. service: what the oracle tells, in words. changed: settings, by
    dotted name, that set it apart from others of that detector. budgets: those that were run, None for no limit.
    stands: whether its verdicts stand at larger budgets; else it has points where it was run and nothing between. end:
    the largest budget that the lines tell of, None for no end; silent: victims of which they tell nothing beyond.
    staged: whether accuracy is a lower bound, see `standing`. points: at the budgets asked for, as far as they are
    known. steps: wherever anything changes, to be drawn.
    """

    label: str
    detector: str
    service: str
    changed: tuple[tuple[str, str], ...]
    victims: int
    budgets: tuple[int | None, ...]
    stands: bool
    end: int | None
    silent: int
    staged: bool
    points: tuple[Point, ...]
    steps: tuple[Point, ...]


@dataclass(frozen=True)
class Panel:
    """The curves of one zoo, or of several pooled. left_out: detectors without a place on an axis of queries."""

    zoos: tuple[str, ...]
    victims: Victims
    curves: tuple[Curve, ...]
    left_out: tuple[str, ...]

    @property
    def title(self) -> str:
        return " + ".join(self.zoos)


@dataclass(frozen=True)
class BudgetStudy:
    """Panels of one split over the same budgets. span: the least and the largest budget that are drawn.

    left_out: (split, lines) of the others, which are never pooled with it.
    """

    split: ZooSplit
    undecided_as: UndecidedAs
    budgets: tuple[int, ...]
    span: tuple[int, int]
    panels: tuple[Panel, ...]
    left_out: tuple[tuple[str, int], ...]
