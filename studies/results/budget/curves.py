"""The curve of one detector: its figures at budgets, from what stands there of each victim."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from studies.results.budget.matching_ledgers import refinement_counted
from studies.results.budget.records import Curve, Money, Point, UndecidedAs
from studies.results.budget.verdict_at_budget import VerdictAt, budget_of, known_until, speaker, stands, verdict_at
from studies.results.table.records import Method
from studies.scan.canonical import canonical
from studies.statistics import PLACES, Ranking, ranked, share, verdicts_first, wins
from studies.study.result_line import ResultLine

Truth: TypeAlias = str
Said: TypeAlias = tuple[Truth, VerdictAt]
"""Of one victim."""

Exact: TypeAlias = Mapping[tuple[object, ...], Mapping[int, VerdictAt]]
"""What was read off ledgers: by the line's unit, and by budget."""


@dataclass(frozen=True)
class CurveSettings:
    """What all curves have in common: see `BudgetStudy`. price: in place of what services state. exact: see `Exact`."""

    budgets: tuple[int, ...]
    span: tuple[int, int]
    undecided_as: UndecidedAs
    price: float | None = None
    exact: Exact = field(default_factory=dict)

    def right(self, said: Said) -> bool:
        """Whether the word counts as the truth."""
        truth, word = said
        return truth == (self.undecided_as if word.kind == "undecided" else word.kind)


@dataclass(frozen=True)
class MethodLines:
    """Lines of one method, one or more, that differ in victim and budget alone: what stands at a budget."""

    lines: Sequence[ResultLine]
    exact: Exact = field(default_factory=dict)

    @cached_property
    def victims(self) -> Mapping[str, Sequence[ResultLine]]:
        """The lines about each victim, by the hash of its model."""
        found: dict[str, list[ResultLine]] = defaultdict(list)
        for line in self.lines:
            found[line.model_hash].append(line)
        return found

    @cached_property
    def settings(self) -> str:
        """Its detector and settings, without the seed that a repeat changes, and the budget."""
        first = self.lines[0]
        kept = {name: value for name, value in first.config.items() if name not in ("seed", "budget")}
        return canonical([first.detector, kept])

    @cached_property
    def stands(self) -> bool:
        """Whether its verdicts stand at larger budgets."""
        return all(map(stands, self.lines))

    @cached_property
    def ends(self) -> Sequence[int]:
        """The largest budget that the lines about a victim tell of, for each that has one."""
        known = map(known_until, self.victims.values()) if self.stands else ()
        return [end for end in known if end is not None]

    @cached_property
    def end(self) -> int | None:
        """The largest that they all tell of, None for no end."""
        return min(self.ends, default=None)

    @cached_property
    def run(self) -> Collection[int | None]:
        """The budgets that were run."""
        return {budget_of(line) for line in self.lines}

    @cached_property
    def read(self) -> int:
        """Victims that a ledger was read of."""
        return len({line.model_hash for line in self.lines if line.unit in self.exact})

    def at(self, budget: int) -> dict[str, Said]:
        """What stands of each victim, by the hash of its model; nobody where some are unknown."""
        if not self.stands:
            there = [line for line in self.lines if budget_of(line) == budget]
            words = [VerdictAt(line.verdict, line.score, True, line.queries, line.staged) for line in there]
            return {line.model_hash: (line.truth, word) for line, word in zip(there, words, strict=True)}
        if self.end is not None and budget > self.end:
            return {}
        return {victim: (own[0].truth, self._word(own, budget)) for victim, own in self.victims.items()}

    def _word(self, own: Sequence[ResultLine], budget: int) -> VerdictAt:
        return self.exact.get(speaker(own, budget).unit, {}).get(budget) or verdict_at(own, budget)


def point(
    budget: int, said: Collection[Said], scale: CurveSettings, price: float | None, *, interval: bool = True
) -> Point:
    """The figures of these victims, one or more. interval: whether to draw that of the AUROC."""
    backdoored, clean = ([word for truth, word in said if truth == one] for one in ("backdoored", "clean"))
    words = [word for _, word in said]
    spent = sum(word.spent for word in words) / len(words)
    return Point(
        budget=budget,
        victims=len(words),
        backdoored=len(backdoored),
        clean=len(clean),
        accuracy=share(sum(map(scale.right, said)), len(words)),
        tpr=share(sum(word.kind == "backdoored" for word in backdoored), len(backdoored)),
        fpr=share(sum(word.kind == "backdoored" for word in clean), len(clean)),
        undecided=share(sum(word.kind == "undecided" for word in words), len(words)),
        auroc=order(backdoored, clean, interval=interval),
        spent=spent,
        cost=None if price is None else Money(price * spent / 1000, price * budget / 1000),
        unheld=sum(not word.held for word in words),
    )


def curve(method: Method, name: str, course: MethodLines, scale: CurveSettings) -> Curve:
    """The curve of a course. name: see `Curve`."""
    price = _price(course.lines, scale.price)

    def points(budgets: Iterable[int], *, interval: bool) -> tuple[Point, ...]:
        found = ((budget, course.at(budget).values()) for budget in budgets)
        return tuple(point(budget, said, scale, price, interval=interval) for budget, said in found if said)

    told = points(scale.budgets, interval=True)
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
        staged=any(line.staged for line in course.lines),
        refined=sum(map(refinement_counted, course.lines)),
        exact=course.read,
        points=told,
        steps=told if course.read else points(_changes(course, scale.span), interval=False),
    )


def _changes(course: MethodLines, span: tuple[int, int]) -> list[int]:
    """Within the span, the budgets where anything changes, and its ends; of points alone, those that were run."""
    asked = {amount for line in course.lines for amount in (line.decided_after, line.queries)}
    changes = {*span, *asked, course.end} if course.stands else course.run
    return sorted(budget for budget in changes if budget is not None and span[0] <= budget <= span[1])


def _price(lines: Sequence[ResultLine], given: float | None) -> float | None:
    """The price that was given, or else the one that the service states."""
    if given is not None:
        return given
    oracle = lines[0].config.get("oracle")
    stated = oracle.get("price_per_thousand") if isinstance(oracle, Mapping) else None
    return float(stated) if isinstance(stated, int | float) else None


def order(backdoored: Sequence[VerdictAt], clean: Sequence[VerdictAt], *, interval: bool = True) -> Ranking:
    """The area under the ROC curve of these words; see `studies.statistics.ranking` where all have ended."""
    every = (*backdoored, *clean)
    unscored = sum(word.score is None for word in every)
    silent = all(word.ended and word.score is None for word in every)
    if not backdoored or not clean or silent:
        return Ranking(None, None, None, unscored)
    scores = [word.score for word in every]
    if any(word.staged for word in every):
        scores = verdicts_first([(word.kind, word.score) for word in every])
    won = wins(scores[: len(backdoored)], scores[len(backdoored) :])
    ended = np.array([word.ended for word in backdoored])[:, None] & np.array([word.ended for word in clean])
    return ranked(np.where(ended, won, _by_place(backdoored, clean)), unscored, interval=interval)


def _by_place(backdoored: Sequence[VerdictAt], clean: Sequence[VerdictAt]) -> NDArray[np.float64]:
    """(B, C): wins by verdict alone, a scan that has not ended in the middle."""
    return wins([PLACES[word.kind] for word in backdoored], [PLACES[word.kind] for word in clean])
