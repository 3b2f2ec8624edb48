"""From the lines of one method on one zoo, or of two, to the figures of a table."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from studies.results.table.records import Breakdown, BreakdownRow, By, Cell, Cost, Key, Method, Pair, Rates
from studies.statistics import Ranking, Share, mcnemar, ranking, share, spread, verdicts_first
from studies.study.result_line import ResultLine

CLEAN = "clean"
"""The group of victims without an attack; the zoo's stratum of them has this name."""

GROUPS: Mapping[By, Callable[[ResultLine], str]] = MappingProxyType(
    {
        "size": lambda line: line.stratum,
        "attack": lambda line: line.attack or CLEAN,
        "architecture": lambda line: line.architecture,
    }
)
"""What a breakdown groups victims by."""


def cell(method: Method, lines: Sequence[ResultLine]) -> Cell:
    """The figures of one method on one zoo, of one line a victim, at least one."""
    caught = [line for line in lines if line.truth == line.verdict == "backdoored"]
    on_target = [line for line in caught if set(line.flagged) & set(line.target_classes)]
    alone = [line for line in on_target if set(line.flagged) <= set(line.target_classes)]
    return Cell(
        method=method,
        scans=len(lines),
        right=_share(lines, lambda line: line.right),
        rates=rates(lines),
        ranking=_ranking(lines),
        target=share(len(on_target), len(caught)),
        only_target=share(len(alone), len(caught)),
        undecided=_share(lines, lambda line: line.verdict == "undecided"),
        invalid=_share(lines, lambda line: line.verdict == "invalid"),
        queries=_cost(lines, lambda line: line.queries),
        image_queries=sum(line.image_queries for line in lines),
        forward=_passes(lines, lambda line: line.forward_passes),
        backward=_passes(lines, lambda line: line.backward_passes),
        seconds=spread([line.seconds for line in lines]),
        image_sets=len({line.data_hash for line in lines}),
    )


def rates(lines: Sequence[ResultLine]) -> Rates:
    """What these lines call backdoored, of the backdoored victims and of the clean ones."""
    kinds = ([line for line in lines if line.truth == truth] for truth in ("backdoored", "clean"))
    return Rates(*(_share(kind, lambda line: line.verdict == "backdoored") for kind in kinds))


def pair(first: Method, second: Method, lines: Mapping[Key, Sequence[ResultLine]]) -> Pair | None:
    """Both methods on the victims, known by model_hash, that both were tried on; None where there are none."""
    one, other = ({line.model_hash: line.right for line in lines[method.key]} for method in (first, second))
    told = [(one[victim], other[victim]) for victim in one if victim in other]
    if not told:
        return None
    only_first, only_second = told.count((True, False)), told.count((False, True))
    p = mcnemar(only_first, only_second)
    return Pair(first, second, len(told), told.count((True, True)), only_first, only_second, p)


def breakdown(by: By, shown: Sequence[Method], lines: Mapping[Key, Sequence[ResultLine]]) -> Breakdown:
    """What each of these methods called backdoored, in every group that a victim of any of them is in."""
    group = GROUPS[by]
    groups = sorted({group(line) for method in shown for line in lines[method.key]}, key=_in_order)
    rows = [
        BreakdownRow(m, tuple(rates([line for line in lines[m.key] if group(line) == name]) for name in groups))
        for m in shown
    ]
    return Breakdown(by, tuple(groups), tuple(rows))


def _in_order(group: str) -> tuple[object, ...]:
    """3x3 before 10x10, and clean victims last."""
    return group == CLEAN, *((int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", group))


def _ranking(lines: Sequence[ResultLine]) -> Ranking:
    scores = [line.score for line in lines]
    if any(line.staged for line in lines):
        scores = verdicts_first([(line.verdict, line.score) for line in lines])
    told = list(zip(lines, scores, strict=True))
    backdoored, clean = ([score for line, score in told if line.truth == one] for one in ("backdoored", "clean"))
    return ranking(backdoored, clean)


def _passes(lines: Sequence[ResultLine], amount: Callable[[ResultLine], int | None]) -> Cost | None:
    """None where any line has none: a black box, or a white one that does not count."""
    return None if any(amount(line) is None for line in lines) else _cost(lines, lambda line: amount(line) or 0)


def _cost(lines: Sequence[ResultLine], amount: Callable[[ResultLine], int]) -> Cost:
    kinds = [[line for line in lines if line.truth == truth] for truth in ("backdoored", "clean")]
    return Cost(*(spread([amount(line) for line in kind]) for kind in (*kinds, lines)))


def _share(lines: Sequence[ResultLine], holds: Callable[[ResultLine], bool]) -> Share:
    return share(sum(map(holds, lines)), len(lines))
