"""The curve of one detector over query budgets, computed from each victim's verdict at each budget."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

from studies.results.budget.matching_ledgers import refinement_counted
from studies.results.budget.order import order
from studies.results.budget.records import Curve, Money, Point, UndecidedAs
from studies.results.budget.verdict_at_budget import (
    VerdictAt,
    budget_of,
    known_until,
    of_line,
    speaker,
    stands,
    verdict_at,
)
from studies.results.table.records import Method
from studies.scan.canonical import canonical
from studies.scan.price import Price
from studies.statistics import share
from studies.study.result_line import ResultLine

Truth: TypeAlias = str
Judged: TypeAlias = tuple[Truth, VerdictAt]
"""The truth about one victim, and its verdict at a budget."""

Exact: TypeAlias = Mapping[tuple[object, ...], Mapping[int, VerdictAt]]
"""The verdicts that were computed from ledgers, by the unit of the line and by budget."""


@dataclass(frozen=True)
class CurveSettings:
    """What all curves have in common; see `BudgetStudy`. price: replaces the prices that services state."""

    budgets: tuple[int, ...]
    span: tuple[int, int]
    undecided_as: UndecidedAs
    price: Price | None = None
    exact: Exact = field(default_factory=dict)

    def right(self, judged: Judged) -> bool:
        """Whether the verdict counts as correct."""
        truth, verdict = judged
        return truth == (self.undecided_as if verdict.kind == "undecided" else verdict.kind)


@dataclass(frozen=True)
class MethodLines:
    """The lines of one method, at least one, which differ only in victim and budget, and their verdicts at a budget."""

    lines: Sequence[ResultLine]
    exact: Exact = field(default_factory=dict)

    @cached_property
    def victims(self) -> Mapping[str, Sequence[ResultLine]]:
        """The lines of each victim, by the hash of its model."""
        by_victim: dict[str, list[ResultLine]] = defaultdict(list)
        for line in self.lines:
            by_victim[line.model_hash].append(line)
        return by_victim

    @cached_property
    def settings(self) -> str:
        """The detector and its settings, without the budget, and without the seed, which repetitions change."""
        first = self.lines[0]
        kept = {name: value for name, value in first.config.items() if name not in ("seed", "budget")}
        return canonical([first.detector, kept])

    @cached_property
    def stands(self) -> bool:
        """Whether its verdicts also hold at larger budgets."""
        return all(map(stands, self.lines))

    @cached_property
    def ends(self) -> Sequence[int]:
        """For each victim with such a limit, the largest budget at which its lines determine the verdict."""
        limits = map(known_until, self.victims.values()) if self.stands else ()
        return [end for end in limits if end is not None]

    @cached_property
    def end(self) -> int | None:
        """The largest budget at which the verdicts of all victims are known; None where there is no limit."""
        return min(self.ends, default=None)

    @cached_property
    def run(self) -> Collection[int | None]:
        """The budgets that scans were run with."""
        return {budget_of(line) for line in self.lines}

    @cached_property
    def read(self) -> int:
        """Number of victims whose verdicts were computed from a ledger."""
        return len({line.model_hash for line in self.lines if line.unit in self.exact})

    def at(self, budget: int) -> dict[str, Judged]:
        """The verdict on each victim at `budget`, by the hash of its model; empty where some verdicts are unknown."""
        if not self.stands:
            lines = [line for line in self.lines if budget_of(line) == budget]
            return {line.model_hash: (line.truth, of_line(line)) for line in lines}
        if self.end is not None and budget > self.end:
            return {}
        return {victim: (own[0].truth, self._verdict(own, budget)) for victim, own in self.victims.items()}

    def _verdict(self, own: Sequence[ResultLine], budget: int) -> VerdictAt:
        return self.exact.get(speaker(own, budget).unit, {}).get(budget) or verdict_at(own, budget)


def point(
    budget: int, judged: Collection[Judged], scale: CurveSettings, price: Price | None, *, interval: bool = True
) -> Point:
    """The figures over these victims, at least one. interval: whether to compute the interval of the AUROC."""
    backdoored, clean = ([verdict for truth, verdict in judged if truth == t] for t in ("backdoored", "clean"))
    verdicts = [verdict for _, verdict in judged]
    spent = sum(verdict.spent for verdict in verdicts) / len(verdicts)
    return Point(
        budget=budget,
        victims=len(verdicts),
        backdoored=len(backdoored),
        clean=len(clean),
        accuracy=share(sum(map(scale.right, judged)), len(verdicts)),
        tpr=share(sum(verdict.kind == "backdoored" for verdict in backdoored), len(backdoored)),
        fpr=share(sum(verdict.kind == "backdoored" for verdict in clean), len(clean)),
        undecided=share(sum(verdict.kind == "undecided" for verdict in verdicts), len(verdicts)),
        auroc=order(backdoored, clean, interval=interval),
        spent=spent,
        cost=None if price is None else Money(price.of(spent), price.of(budget), price.currency),
        unheld=sum(not verdict.held for verdict in verdicts),
    )


def curve(method: Method, name: str, course: MethodLines, scale: CurveSettings) -> Curve:
    """The curve of one method's lines. name: see `Curve`."""
    price = _price(course.lines, scale.price)

    def points(budgets: Iterable[int], *, interval: bool) -> tuple[Point, ...]:
        judged = ((budget, course.at(budget).values()) for budget in budgets)
        return tuple(point(budget, known, scale, price, interval=interval) for budget, known in judged if known)

    tabulated = points(scale.budgets, interval=True)
    return Curve(
        label=method.label,
        name=name,
        detector=method.detector,
        service=method.service,
        price=price,
        changed=method.changed,
        victims=len(course.victims),
        budgets=tuple(sorted(course.run, key=lambda budget: (budget is None, budget))),
        stands=course.stands,
        end=course.end,
        silent=0 if course.end is None else list(course.ends).count(course.end),
        early=sum(line.perhaps_early for line in course.lines),
        refined=sum(map(refinement_counted, course.lines)),
        exact=course.read,
        points=tabulated,
        steps=tabulated if course.read else points(_changes(course, scale.span), interval=False),
    )


_STEPS = 200
"""Maximum number of budgets at which a curve is drawn; a fleet of a thousand victims changes it at two thousand."""


def _changes(course: MethodLines, span: tuple[int, int]) -> list[int]:
    """The budgets within the span at which the curve changes, with the ends of the span; else the budgets run.

    Of more than _STEPS of them, as many at equal distances in their order, the first and the last among them.
    """
    amounts = {amount for line in course.lines for amount in (line.decided_after, line.queries)}
    changes = {*span, *amounts, course.end} if course.stands else course.run
    return thinned(sorted(budget for budget in changes if budget is not None and span[0] <= budget <= span[1]))


def thinned(budgets: Sequence[int]) -> list[int]:
    """At most _STEPS of these budgets, with the first and the last."""
    if len(budgets) <= _STEPS:
        return list(budgets)
    return [budgets[round(place * (len(budgets) - 1) / (_STEPS - 1))] for place in range(_STEPS)]


def _price(lines: Sequence[ResultLine], given: Price | None) -> Price | None:
    """The given price, else the price that the service states with its currency."""
    if given is not None:
        return given
    oracle = lines[0].config.get("oracle")
    return Price.stated(oracle) if isinstance(oracle, Mapping) else None
