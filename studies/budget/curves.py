"""The curve of one detector: its figures at budgets, from what stands there of each victim."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from simkit.verdict import Kind
from studies.budget.data import Curve, Point, UndecidedAs
from studies.budget.standing import known_until, limit_of, staged, stands, verdict_at
from studies.result_line import ResultLine
from studies.shares import share
from studies.table.data import Method

Said: TypeAlias = tuple[str, Kind]
"""Of one victim, truth and verdict."""


@dataclass(frozen=True)
class Scale:
    """What all curves have in common. budgets, span, undecided_as: see `BudgetStudy`."""

    budgets: tuple[int, ...]
    span: tuple[int, int]
    undecided_as: UndecidedAs

    def points(self, budgets: Iterable[int], said: Callable[[int], Sequence[Said]]) -> tuple[Point, ...]:
        """A point at each budget where anything is known."""
        found = ((budget, said(budget)) for budget in budgets)
        return tuple(point(budget, known, self.undecided_as) for budget, known in found if known)


def point(budget: int, said: Sequence[Said], undecided_as: UndecidedAs) -> Point:
    """The figures of these victims, one or more."""
    counted = [(truth, undecided_as if kind == "undecided" else kind) for truth, kind in said]
    backdoored, clean = ([kind for truth, kind in counted if truth == one] for one in ("backdoored", "clean"))
    return Point(
        budget=budget,
        victims=len(said),
        backdoored=len(backdoored),
        clean=len(clean),
        accuracy=share(sum(truth == kind for truth, kind in counted), len(counted)),
        tpr=share(backdoored.count("backdoored"), len(backdoored)),
        fpr=share(clean.count("backdoored"), len(clean)),
        undecided=share(sum(kind == "undecided" for _, kind in said), len(said)),
    )


def curve(method: Method, lines: Sequence[ResultLine], scale: Scale) -> Curve:
    """Of lines of one method, one or more, that differ in victim and budget alone."""
    victims: dict[str, list[ResultLine]] = defaultdict(list)
    for line in lines:
        victims[line.model_hash].append(line)
    whole = all(map(stands, lines))
    ends = [end for own in victims.values() if (end := known_until(own)) is not None] if whole else []
    end = min(ends, default=None)

    def standing(budget: int) -> list[Said]:
        known = end is None or budget <= end
        return [(own[0].truth, verdict_at(own, budget)) for own in victims.values()] if known else []

    def as_run(budget: int) -> list[Said]:
        return [(line.truth, line.verdict) for line in lines if limit_of(line) == budget]

    run = {limit_of(line) for line in lines}
    changes = {*scale.span, *(line.queries for line in lines), end} if whole else run
    least, most = scale.span
    return Curve(
        label=method.label,
        detector=method.detector,
        service=method.service,
        changed=method.changed,
        victims=len(victims),
        budgets=tuple(sorted(run, key=lambda budget: (budget is None, budget))),
        stands=whole,
        end=end,
        silent=ends.count(end) if end is not None else 0,
        staged=any(map(staged, lines)),
        points=scale.points(scale.budgets, standing if whole else as_run),
        steps=scale.points(
            sorted(budget for budget in changes if budget is not None and least <= budget <= most),
            standing if whole else as_run,
        ),
    )
