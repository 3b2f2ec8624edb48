"""Curves against each other on the same victims: McNemar's exact test at every budget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations

from studies.budget.curves import Course, Scale
from studies.budget.data import Curve, Pair, Paired
from studies.table.statistics import holm, mcnemar


def pairs(courses: Mapping[str, tuple[Curve, Course]], scale: Scale) -> Iterator[Pair]:
    """Every two curves, by label, that have the service in common or the detector; with no victim in common none.

    Repeats of one method, which differ in seed alone, are no rivals.

    p values are adjusted by Holm's method over the budgets of a pair: a pair is one question, and its budgets the many
    places to look for the answer. They are not adjusted for the number of pairs.
    """
    for (first, one), (second, other) in combinations(courses.values(), 2):
        rivals = (first.service == second.service) != (first.name == second.name)
        if rivals and one.settings != other.settings:
            tests = tuple(_tests(one, other, scale))
            if tests:
                yield Pair(first.label, second.label, tests)


def _tests(one: Course, other: Course, scale: Scale) -> Iterator[Paired]:
    counts = [found for budget in scale.budgets if (found := _counted(one, other, scale, budget)) is not None]
    values = [mcnemar(only_first, only_second) for _, _, only_first, only_second in counts]
    for count, p, adjusted in zip(counts, values, holm(values), strict=True):
        yield Paired(*count, p, adjusted)


def _counted(one: Course, other: Course, scale: Scale, budget: int) -> tuple[int, int, int, int] | None:
    """The budget, the victims in common, and those that only the first, only the second has right."""
    first, second = one.at(budget), other.at(budget)
    right = [(scale.right(first[victim]), scale.right(second[victim])) for victim in first if victim in second]
    return (budget, len(right), right.count((True, False)), right.count((False, True))) if right else None
