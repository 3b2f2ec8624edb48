"""The curves of one zoo, or of several as one: which lines are of one method, and what it is called."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from simkit.detectors.registry import TITLES
from studies.results.budget.curves import CurveSettings, MethodLines, curve
from studies.results.budget.records import Curve, Pair, Paired, Panel
from studies.results.table.gather import victims_of
from studies.results.table.methods import key_of, methods
from studies.results.table.records import Key, Method
from studies.scan.canonical import digest
from studies.statistics import holm, mcnemar
from studies.study.result_line import ResultLine


def panel(lines: Sequence[ResultLine], scale: CurveSettings) -> Panel:
    """The curves of these lines, one or more, as of one zoo."""
    zoos = tuple(dict.fromkeys(line.zoo for line in lines))
    together = [_without(line, " + ".join(zoos), ("budget",)) for line in lines]
    by_key: dict[Key, list[ResultLine]] = defaultdict(list)
    for line, same in zip(lines, together, strict=True):
        by_key[key_of(same)].append(line)
    found = methods(together, TITLES)
    names = _names(found, lines, together)
    asked = {key: own for key in found if (own := [line for line in by_key[key] if line.asks])}
    courses = {key: MethodLines(own, scale.exact) for key, own in asked.items()}
    curves = {key: curve(found[key], names[key], course, scale) for key, course in courses.items()}
    return Panel(
        zoos=zoos,
        victims=victims_of(lines),
        services=_services((curves[key].service, own[0]) for key, own in asked.items()),
        curves=tuple(curves.values()),
        pairs=tuple(pairs({one.label: (one, courses[key]) for key, one in curves.items()}, scale)),
        left_out=tuple(method.label for key, method in found.items() if key not in asked),
    )


def _without(line: ResultLine, zoo: str, left_out: Sequence[str]) -> ResultLine:
    """The same whatever these settings, so that its lines under several are of one method."""
    config = {name: value for name, value in line.config.items() if name not in left_out}
    return line.model_copy(update={"zoo": zoo, "config": config, "config_hash": digest(config)})


def _names(found: Mapping[Key, Method], lines: Sequence[ResultLine], together: Sequence[ResultLine]) -> dict[Key, str]:
    """What each method is called behind every service: its title, or where two share one, what tells them apart.

    The settings of one preset may differ between services: a race for labels is not that for scores.
    """
    places = Counter((method.detector, method.service) for method in found.values())
    anywhere = [_without(line, same.zoo, ("budget", "oracle")) for line, same in zip(lines, together, strict=True)]
    labels = methods(anywhere, TITLES)
    told = {key_of(same): labels[key_of(one)].label for same, one in zip(together, anywhere, strict=True)}
    alone = {detector for detector, _ in places if all(n == 1 for (d, _), n in places.items() if d == detector)}
    titles = {key: TITLES.get(method.detector, method.detector) for key, method in found.items()}
    return {key: titles[key] if method.detector in alone else told[key] for key, method in found.items()}


def _services(told: Iterable[tuple[str, ResultLine]]) -> tuple[str, ...]:
    """Each once, from all scores to the label alone."""
    ranks: dict[str, tuple[object, ...]] = {}
    for service, line in told:
        oracle: Mapping[str, Any] = line.config.get("oracle") or {}
        ranks.setdefault(
            service, (bool(oracle.get("label_only")), -(oracle.get("top_k") or 10**6), service != "scores")
        )
    return tuple(sorted(ranks, key=lambda service: ranks[service]))


def pairs(courses: Mapping[str, tuple[Curve, MethodLines]], scale: CurveSettings) -> Iterator[Pair]:
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


def _tests(one: MethodLines, other: MethodLines, scale: CurveSettings) -> Iterator[Paired]:
    counts = [found for budget in scale.budgets if (found := _counted(one, other, scale, budget)) is not None]
    values = [mcnemar(only_first, only_second) for _, _, only_first, only_second in counts]
    for count, p, adjusted in zip(counts, values, holm(values), strict=True):
        yield Paired(*count, p, adjusted)


def _counted(
    one: MethodLines, other: MethodLines, scale: CurveSettings, budget: int
) -> tuple[int, int, int, int] | None:
    """The budget, the victims in common, and those that only the first, only the second has right."""
    first, second = one.at(budget), other.at(budget)
    right = [(scale.right(first[victim]), scale.right(second[victim])) for victim in first if victim in second]
    return (budget, len(right), right.count((True, False)), right.count((False, True))) if right else None
