"""The figures of a table: of one method on one zoo, and of two methods compared."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from types import MappingProxyType

from studies.results.budget.order import order
from studies.results.budget.verdict_at_budget import of_line
from studies.results.table.records import Breakdown, BreakdownRow, By, Cell, Cost, Key, Method, Pair, Rates
from studies.scan.probability import PRIOR, moved, probability
from studies.statistics import Forecast, Ranking, Share, forecast, holm, mcnemar, share, spread
from studies.study.result_line import ResultLine

CLEAN = "clean"
"""The name of the group of clean victims, and of their stratum in a zoo."""

GROUPS: Mapping[By, Callable[[ResultLine], str]] = MappingProxyType(
    {
        "size": lambda line: line.stratum,
        "attack": lambda line: line.attack or CLEAN,
        "architecture": lambda line: line.architecture,
    }
)
"""The group of a line's victim, for each kind of breakdown."""


def cell(method: Method, lines: Sequence[ResultLine], prior: float = PRIOR) -> Cell:
    """The figures of one method on one zoo. lines: one per victim, at least one. prior: see `chance_of`."""
    detected = [line for line in lines if line.truth == line.verdict == "backdoored"]
    on_target = [line for line in detected if set(line.flagged) & set(line.target_classes)]
    only_target = [line for line in on_target if set(line.flagged) <= set(line.target_classes)]
    return Cell(
        method=method,
        scans=len(lines),
        right=_share(lines, lambda line: line.right),
        rates=rates(lines),
        ranking=_ranking(lines),
        forecast=_forecast(lines, prior),
        target=share(len(on_target), len(detected)),
        only_target=share(len(only_target), len(detected)),
        undecided=_share(lines, lambda line: line.verdict == "undecided"),
        invalid=_share(lines, lambda line: line.verdict == "invalid"),
        queries=_cost(lines, lambda line: line.queries),
        image_queries=sum(line.image_queries for line in lines),
        forward=_passes(lines, lambda line: line.forward_passes),
        backward=_passes(lines, lambda line: line.backward_passes),
        seconds=spread([line.seconds for line in lines]),
        image_sets=len({line.data_hash for line in lines if not line.own_draw}),
    )


def chance_of(line: ResultLine, prior: float) -> float | None:
    """The probability of a backdoor if this share of all models has one: by today's calibration, else as the line says.

    None where neither has one, and for a verdict that may be of an early stage.
    """
    known = probability(line.config, line.environment, line.verdict, line.image_shape)
    said = line.probability if known is None else known.value
    return None if said is None or line.perhaps_early else moved(said, PRIOR, prior)


def _forecast(lines: Sequence[ResultLine], prior: float) -> Forecast:
    stated = [(chance_of(line, prior), line.truth == "backdoored") for line in lines]
    return forecast([(chance, truth) for chance, truth in stated if chance is not None])


def rates(lines: Sequence[ResultLine]) -> Rates:
    """TPR and FPR of these lines: the share of verdicts `backdoored` among backdoored and among clean victims."""
    kinds = ([line for line in lines if line.truth == truth] for truth in ("backdoored", "clean"))
    return Rates(*(_share(kind, lambda line: line.verdict == "backdoored") for kind in kinds))


def pair(first: Method, second: Method, lines: Mapping[Key, Sequence[ResultLine]]) -> Pair | None:
    """Both methods compared on the victims (by model_hash) that both scanned; None where there are none.

    The p value is that of this pair alone, see `pairs`.
    """
    right, others = ({line.model_hash: line.right for line in lines[method.key]} for method in (first, second))
    outcomes = [(right[victim], others[victim]) for victim in right if victim in others]
    if not outcomes:
        return None
    only_first, only_second = outcomes.count((True, False)), outcomes.count((False, True))
    p = mcnemar(only_first, only_second)
    return Pair(first, second, len(outcomes), outcomes.count((True, True)), only_first, only_second, p, p)


def pairs(shown: Sequence[Method], lines: Mapping[Key, Sequence[ResultLine]]) -> tuple[Pair, ...]:
    """All methods compared two by two, as far as they have common victims, with p values adjusted for their number."""
    found = [p for first, second in combinations(shown, 2) if (p := pair(first, second, lines)) is not None]
    adjusted = holm([compared.p for compared in found])
    return tuple(replace(compared, adjusted=p) for compared, p in zip(found, adjusted, strict=True))


def breakdown(by: By, shown: Sequence[Method], lines: Mapping[Key, Sequence[ResultLine]]) -> Breakdown:
    """TPR and FPR of each method in every group that has a victim of any of them."""
    group = GROUPS[by]
    groups = sorted({group(line) for method in shown for line in lines[method.key]}, key=_in_order)
    rows = [
        BreakdownRow(m, tuple(rates([line for line in lines[m.key] if group(line) == name]) for name in groups))
        for m in shown
    ]
    return Breakdown(by, tuple(groups), tuple(rows))


def _in_order(group: str) -> tuple[object, ...]:
    """The sort key of a group: 3x3 comes before 10x10, and clean victims come last."""
    return group == CLEAN, *((int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", group))


def _ranking(lines: Sequence[ResultLine]) -> Ranking:
    kinds = ([of_line(line) for line in lines if line.truth == truth] for truth in ("backdoored", "clean"))
    return order(*kinds)


def _passes(lines: Sequence[ResultLine], amount: Callable[[ResultLine], int | None]) -> Cost | None:
    """The passes through the model; None where any line has no count of them, as for a black-box detector."""
    return None if any(amount(line) is None for line in lines) else _cost(lines, lambda line: amount(line) or 0)


def _cost(lines: Sequence[ResultLine], amount: Callable[[ResultLine], int]) -> Cost:
    kinds = [[line for line in lines if line.truth == truth] for truth in ("backdoored", "clean")]
    return Cost(*(spread([amount(line) for line in kind]) for kind in (*kinds, lines)))


def _share(lines: Sequence[ResultLine], holds: Callable[[ResultLine], bool]) -> Share:
    return share(sum(map(holds, lines)), len(lines))
