"""The curves of one zoo or of several pooled zoos: groups lines by method, names the methods and compares them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations

from simkit.detectors.registry import TITLES
from studies.results.budget.curves import CurveSettings, MethodLines, curve
from studies.results.budget.records import Curve, Pair, Paired, Panel
from studies.results.table.gather import victims_of
from studies.results.table.methods import key_of, methods, service_rank
from studies.results.table.records import Key, Method
from studies.scan.canonical import digest
from studies.statistics import holm, mcnemar
from studies.study.result_line import ResultLine


def panel(lines: Sequence[ResultLine], scale: CurveSettings) -> Panel:
    """The curves of these lines, at least one, treated as lines of one zoo."""
    zoos = tuple(dict.fromkeys(line.zoo for line in lines))
    together = [_without(line, " + ".join(zoos), ("budget",)) for line in lines]
    by_key: dict[Key, list[ResultLine]] = defaultdict(list)
    for line, same in zip(lines, together, strict=True):
        by_key[key_of(same)].append(line)
    by_method = methods(together, TITLES)
    names = _names(by_method, lines, together)
    asked = {key: own for key in by_method if (own := [line for line in by_key[key] if line.asks])}
    courses = {key: MethodLines(own, scale.exact) for key, own in asked.items()}
    curves = {key: curve(by_method[key], names[key], course, scale) for key, course in courses.items()}
    return Panel(
        zoos=zoos,
        victims=victims_of(lines),
        services=_services((curves[key].service, own[0]) for key, own in asked.items()),
        curves=tuple(curves.values()),
        pairs=tuple(pairs({drawn.label: (drawn, courses[key]) for key, drawn in curves.items()}, scale)),
        left_out=tuple(method.label for key, method in by_method.items() if key not in asked),
    )


def _without(line: ResultLine, zoo: str, left_out: Sequence[str]) -> ResultLine:
    """The line without these settings, so that lines that differ only in them are of one method."""
    config = {name: value for name, value in line.config.items() if name not in left_out}
    return line.model_copy(update={"zoo": zoo, "config": config, "config_hash": digest(config)})


def _names(
    by_method: Mapping[Key, Method], lines: Sequence[ResultLine], together: Sequence[ResultLine]
) -> dict[Key, str]:
    """The name of each method, the same for every service: its title, or where two methods share it, a longer label.

    The settings of one preset may differ between services: the race uses other settings for labels than for scores.
    """
    places = Counter((method.detector, method.service) for method in by_method.values())
    anywhere = [_without(line, same.zoo, ("budget", "oracle")) for line, same in zip(lines, together, strict=True)]
    labels = methods(anywhere, TITLES)
    longer = {key_of(same): labels[key_of(line)].label for same, line in zip(together, anywhere, strict=True)}
    alone = {detector for detector, _ in places if all(n == 1 for (d, _), n in places.items() if d == detector)}
    titles = {key: TITLES.get(method.detector, method.detector) for key, method in by_method.items()}
    return {key: titles[key] if method.detector in alone else longer[key] for key, method in by_method.items()}


def _services(asked: Iterable[tuple[str, ResultLine]]) -> tuple[str, ...]:
    """Each service once, from all scores to label-only."""
    ranks: dict[str, tuple[object, ...]] = {}
    for service, line in asked:
        ranks.setdefault(service, (*service_rank(line), service != "scores"))
    return tuple(sorted(ranks, key=lambda service: ranks[service]))


def pairs(courses: Mapping[str, tuple[Curve, MethodLines]], scale: CurveSettings) -> Iterator[Pair]:
    """Every pair of curves, by label, with either the service or the detector in common, and with common victims.

    Repetitions of one method, which differ only in their seed, are not compared. p values are adjusted by Holm's method
    over the budgets of a pair, since a pair is one hypothesis that is tested at many budgets; they are not adjusted for
    the number of pairs.
    """
    for (first, lines), (second, other_lines) in combinations(courses.values(), 2):
        comparable = (first.service == second.service) != (first.name == second.name)
        if comparable and lines.settings != other_lines.settings:
            tests = tuple(_tests(lines, other_lines, scale))
            if tests:
                yield Pair(first.label, second.label, tests)


def _tests(lines: MethodLines, others: MethodLines, scale: CurveSettings) -> Iterator[Paired]:
    counts = [count for budget in scale.budgets if (count := _counted(lines, others, scale, budget)) is not None]
    values = [mcnemar(only_first, only_second) for _, _, only_first, only_second in counts]
    for count, p, adjusted in zip(counts, values, holm(values), strict=True):
        yield Paired(*count, p, adjusted)


def _counted(
    lines: MethodLines, others: MethodLines, scale: CurveSettings, budget: int
) -> tuple[int, int, int, int] | None:
    """The budget, the number of common victims, and how many only the first or only the second method has right."""
    first, second = lines.at(budget), others.at(budget)
    right = [(scale.right(first[victim]), scale.right(second[victim])) for victim in first if victim in second]
    return (budget, len(right), right.count((True, False)), right.count((False, True))) if right else None
