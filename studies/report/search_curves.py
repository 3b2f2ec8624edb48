"""Curves of a search's progress over its queries, from the state that is stored with each step."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from db.survey import AskedStep
from studies.render.charts import Line, Plot

POINTS = 400
"""Maximum number of points of a curve."""

MOST_LINES = 10

_AVERAGED, _AVERAGES = 5, 40
"""Losses are drawn as averages, since single ones vary too much: of at least 5 steps each, at most 40 per line."""

_MEASURES = {
    "expected_mask_size": ("Expected mask size", "pixels"),
    "best_mask_size": ("Smallest working mask so far", "pixels"),
    "loss": ("Loss", "cross entropy, or 1 - success rate for label-only answers; averaged over steps"),
    "best_success_rate": ("Success rate of the best patch", "(hits + 0.5) / (trials + 1)"),
    "best_patch_size": ("Size of the best patch", "pixels"),
    "working": ("Working patches", "pairs of patch and class"),
}
"""Title and unit of each key of the searchers' states, in the order of the plots."""

Curves = dict[str, dict[int | None, list[tuple[float, float]]]]
"""The points of each measure and class; the class None stands for the search as a whole."""


def curves(steps: Sequence[AskedStep]) -> Curves:
    """The points of every measure and class, each at the queries spent before its search step."""
    points: Curves = {name: {} for name in _MEASURES}
    for step in steps:
        if step.purpose != "search":
            continue
        state = _state(step.state)
        target = state.get("class")
        for name, of_class in points.items():
            value = state.get(name)
            if isinstance(value, int | float) and math.isfinite(value):
                key = target if isinstance(target, int) else None
                of_class.setdefault(key, []).append((float(step.first), float(value)))
    return points


def plots(
    curves: Curves, labels: Mapping[int, str], emphasised: Sequence[int], points: int = POINTS
) -> tuple[Plot, ...]:
    """One plot per measure that has points. labels: the classes to draw, in order; others are left out."""
    return tuple(_plots(curves, labels, emphasised, points))


def concluded(curves: Curves, sizes: Mapping[int, float], queries: int) -> Curves:
    """The curves with the final working mask sizes added at `queries`, since a stored state precedes its step."""
    best = {c: list(line) for c, line in curves["best_mask_size"].items()}
    for target, size in sizes.items() if None not in best else ():
        best.setdefault(target, []).append((float(queries), size))
    return curves | {"best_mask_size": best}


def smallest_first(curves: Curves) -> list[int]:
    """The classes in ascending order of the last expected mask size, for a run that has no triggers yet."""
    sizes = curves["expected_mask_size"]
    return sorted((c for c in sizes if c is not None), key=lambda c: sizes[c][-1][1])


def thinned(line: Sequence[tuple[float, float]], points: int) -> tuple[tuple[float, float], ...]:
    """At most `points` (2 or more) evenly spread points of a line, including its first and its last."""
    if len(line) <= points:
        return tuple(line)
    last = len(line) - 1
    return tuple(line[round(i * last / (points - 1))] for i in range(points))


def averaged(line: Sequence[tuple[float, float]], points: int) -> tuple[tuple[float, float], ...]:
    """At most `points` means over groups of consecutive points of about equal size, each placed at its group's end."""
    parts = min(points, len(line))
    edges = [i * len(line) // parts for i in range(parts + 1)]
    groups = [line[first:last] for first, last in pairwise(edges)]
    return tuple((group[-1][0], math.fsum(y for _, y in group) / len(group)) for group in groups)


def stepped(line: Sequence[tuple[float, float]], points: int) -> tuple[tuple[float, float], ...]:
    """The line as a step function through at most `points` of its points, with a corner at each change."""
    kept = thinned([line[0], *(new for old, new in pairwise(line) if new[1] != old[1]), line[-1]], points)
    corners = [((new[0], old[1]), new) for old, new in pairwise(kept)]
    return tuple(dict.fromkeys((kept[0], *(point for corner in corners for point in corner))))


def _plots(curves: Curves, labels: Mapping[int, str], emphasised: Sequence[int], points: int) -> Iterator[Plot]:
    drawn: list[tuple[int | None, str, int]] = [(None, "all classes", 0)]
    drawn += [(c, label, colour) for colour, (c, label) in enumerate(labels.items())]
    for name, (title, unit) in _MEASURES.items():
        of_class, shorten = curves[name], _SHORTEN.get(name, thinned)
        lines = [
            Line(label, shorten(of_class[c], points), colour, c in emphasised)
            for c, label, colour in drawn
            if c in of_class
        ]
        if lines:
            values = [value for line in lines for _, value in line.points]
            log = name != "loss" and min(values) > 0 and max(values) > 10 * min(values)
            yield Plot(title, unit, tuple(lines), log, name)


_SHORTEN: Mapping[str, Callable[[Sequence[tuple[float, float]], int], tuple[tuple[float, float], ...]]] = {
    "loss": lambda line, points: averaged(line, min(points, _AVERAGES, -(-len(line) // _AVERAGED))),
    "best_mask_size": stepped,
    "best_patch_size": stepped,
}


def _state(text: str) -> dict[str, Any]:
    value = json.loads(text)
    return value if isinstance(value, dict) else {}
