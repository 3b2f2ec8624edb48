"""The geometry of a plot: lines in a square of 1000 by 1000 units, which the page stretches, and ticks in percent.

The report writes its curves as SVG itself, since they follow the page's light or dark colours and the screen's width
through its style sheet, which a picture drawn by matplotlib cannot.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from studies.render.charts import Line, Plot
from studies.render.formats import number, short
from studies.report.records import RunReport

SIDE = 1000


@dataclass(frozen=True)
class Tick:
    """A tick of an axis. percent: its distance from the left or from the top."""

    percent: float
    text: str


@dataclass(frozen=True)
class Stroke:
    """One line of a figure. points: the `points` attribute of an SVG polyline. colour: 0 to 9."""

    label: str
    points: str
    colour: int
    emphasis: bool


@dataclass(frozen=True)
class Figure:
    """A plot, ready for the template. alt: a description in words, for screen readers."""

    title: str
    unit: str
    log: bool
    strokes: tuple[Stroke, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    alt: str


def figure(plot: Plot) -> Figure:
    """The lines and ticks of a plot."""
    queries = [x for line in plot.lines for x, _ in line.points]
    values = [y for line in plot.lines for _, y in line.points]
    right = max(max(queries), 1.0)
    low, high, marks = _axis(values, log=plot.log)

    def up(value: float) -> float:
        at, least, most = (math.log10(v) if plot.log else v for v in (value, low, high))
        return SIDE * (1.0 - (at - least) / (most - least))

    def stroke(line: Line) -> Stroke:
        points = " ".join(f"{SIDE * x / right:.0f},{up(y):.0f}" for x, y in line.points)
        return Stroke(line.label, points, line.colour, line.emphasis)

    strokes = tuple(map(stroke, plot.lines))
    across = tuple(Tick(100.0 * x / right, short(x)) for x in _ticks(0.0, right) if x <= right)
    ups = tuple(Tick(100.0 * up(y) / SIDE, f"{y:,g}") for y in marks)
    return Figure(plot.title, plot.unit, plot.log, strokes, across, ups, _alt(plot))


def widest(run: RunReport) -> float:
    """The right end of the mask size bars in pixels: the largest patch, or a little more than the rule's limit."""
    patches = (row.mask_size for row in run.classes if row.is_patch)
    return max([1.0, *patches, 0.0 if run.limit is None else 1.05 * run.limit])


def _axis(values: Sequence[float], *, log: bool) -> tuple[float, float, list[float]]:
    """Both ends of the axis, and its tick values."""
    low, high = min(values), max(values)
    if log:
        return low / 1.1, high * 1.1, _decades(low, high)
    low, high = min(low, 0.0), high if high > min(low, 0.0) else low + 1.0
    return low, high * 1.03, [m for m in _ticks(low, high) if m <= high * 1.03]


def _decades(low: float, high: float) -> list[float]:
    """1, 2 and 5 of every decade; where these are more than six, powers of ten, and of these at most six."""
    exponents = range(math.floor(math.log10(low)), math.floor(math.log10(high)) + 1)
    marks = [m * 10.0**e for e in exponents for m in (1, 2, 5) if low <= m * 10.0**e <= high]
    if len(marks) <= 6:
        return marks
    tens = [10.0**e for e in exponents if low <= 10.0**e <= high]
    return tens[:: -(-len(tens) // 6)]


def _ticks(low: float, high: float) -> list[float]:
    """At most six round numbers from `low` to `high`."""
    from matplotlib.ticker import MaxNLocator

    return [float(tick) for tick in MaxNLocator(5).tick_values(low, high) if low <= tick <= high]


def _alt(plot: Plot) -> str:
    def described(line: Line) -> str:
        return f"{line.label} from {number(line.points[0][1])} to {number(line.points[-1][1])}"

    return f"{plot.title} ({plot.unit}) against queries: {'; '.join(map(described, plot.lines))}."
