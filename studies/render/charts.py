"""Charts on matplotlib Axes for notebooks: triggers side by side, mask sizes of classes, curves over queries.

Each function takes plain values, draws on the given Axes or on those of a new figure, and returns the Axes.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from studies.render.figures import COLOURS, axes_to_draw_on, in_short, logarithmic, look, plain
from studies.render.formats import number, pixel_words
from studies.render.order import Place, place

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from simkit.transforms.contract import Transform

_PLAIN, _FLAGGED, _QUIET = COLOURS[0], COLOURS[1], "#57606a"

MOST_BARS = 50
"""Maximum number of classes in a chart of mask sizes, so that the bars stay readable."""


@dataclass(frozen=True)
class Bar:
    """The mask size of one class, in pixels. censored: whether no trigger reached the required success rate.

    words: of a trigger that is no patch, shown in place of a bar; else empty. rate: its success rate on unseen images,
    None without a trial.
    """

    label: str
    size: float
    flagged: bool = False
    censored: bool = False
    words: str = ""
    rate: float | None = None

    @property
    def length(self) -> float:
        """The length of the bar in pixels."""
        return 0.0 if self.words else self.size


@dataclass(frozen=True, eq=False)
class Caption:
    """A trigger to show, the bar of its class, and the text below it."""

    bar: Bar
    trigger: Transform
    text: str

    @classmethod
    def of(cls, bar: Bar, trigger: Transform) -> Caption:
        """The trigger with a text that gives its class, its size or words, and whether it is flagged or censored."""
        special = "\nflagged" if bar.flagged else "\ncensored" if bar.censored else ""
        words = trigger.words if trigger.as_patch is None else pixel_words(bar.size)
        return cls(bar, trigger, f"{bar.label}\n{words}{special}")


@dataclass(frozen=True)
class Bars:
    """Mask sizes of classes. limit: size in pixels below which the rule flags, or None. limit_words: limit in words."""

    bars: tuple[Bar, ...]
    limit: float | None = None
    limit_words: str = ""


@dataclass(frozen=True)
class Line:
    """One curve of (queries, value), in ascending order of queries.

    colour: 0 to 9, the same for a class in all plots of a run. emphasis: whether the class is flagged or the target of
    the true trigger.
    """

    label: str
    points: tuple[tuple[float, float], ...]
    colour: int
    emphasis: bool


@dataclass(frozen=True)
class Plot:
    """Curves over queries. log: whether the axis is logarithmic, as for values above 0 that span more than a decade.

    measure: the key of the searchers' states that the values come from.
    """

    title: str
    unit: str
    lines: tuple[Line, ...]
    log: bool
    measure: str = ""


def trigger_chart(triggers: Sequence[Caption], title: str = "", axes: Axes | None = None) -> Axes:
    """Draw triggers of one shape side by side: patches on grey and their masks below, others by what they do."""
    taller = 1.5 * (0 if all(shown.trigger.as_patch for shown in triggers) else 2)
    with axes_to_draw_on(axes, (max(3.2, 0.8 + 1.45 * len(triggers)), 3.7 + taller)) as target:
        if title:
            target.set_title(title, fontsize=11)
        if not triggers:
            return _nothing(target, "no trigger was found")
        _montage(target, triggers)
    return target


def _montage(axes: Axes, triggers: Sequence[Caption]) -> None:
    from studies.render.trigger_views import views

    columns = [views(shown.trigger) for shown in triggers]
    _, height, width = triggers[0].trigger.image_shape
    gap, rows = 0.14 * width, max(map(len, columns))
    for column, shown in enumerate(columns):
        for row, view in enumerate(shown):
            left, top = column * (width + gap), row * (height + gap)
            axes.imshow(view.pixels, extent=(left, left + width, top + height, top), interpolation="nearest")
    axes.set_xlim(0, len(triggers) * (width + gap) - gap)
    axes.set_ylim(rows * (height + gap) - gap, 0)
    centres = [column * (width + gap) + width / 2 for column in range(len(triggers))]
    axes.set_xticks(centres, [_broken(shown.text, 17) for shown in triggers], fontsize=9)
    names = [dict.fromkeys(shown[row].name for shown in columns if row < len(shown)) for row in range(rows)]
    middles = [row * (height + gap) + height / 2 for row in range(rows)]
    axes.set_yticks(middles, ["\nor ".join(row) for row in names], fontsize=9)
    axes.tick_params(length=0)
    axes.set_frame_on(False)


def mask_size_chart(shown: Bars, title: str = "", axes: Axes | None = None) -> Axes:
    """Draw one bar per class, the first on top, and the rule's limit as a dashed line.

    Of more than 50 classes, the flagged ones and those with the smallest working triggers are drawn.
    """
    from matplotlib.ticker import MaxNLocator

    bars = _few(shown.bars)
    with axes_to_draw_on(axes, (6.4, 1.3 + 0.25 * max(4, len(bars)))) as target:
        target.set_title(title, fontsize=11)
        if not bars:
            return _nothing(target, "no trigger was found")
        _bars(target, bars)
        notes = ["mask size in pixels"]
        if shown.limit is not None and shown.limit > 0:
            target.axvline(shown.limit, color="black", linestyle="--", linewidth=1.2)
            notes.append(f"dashed: the rule flags masks {shown.limit_words}")
        if left_out := len(shown.bars) - len(bars):
            notes.append(f"{left_out:,} more classes are not shown")
        target.set_xlabel("\n".join(notes))
        target.set_xlim(0, 1.2 * max(1.0, *(bar.length for bar in bars), shown.limit or 0.0))
        target.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        plain(target, "x")
    return target


def first_to_look_at(bar: Bar) -> Place:
    """A sort key, see `studies.render.order.place`."""
    return place(flagged=bar.flagged, censored=bar.censored, size=bar.size, rate=bar.rate)


def _few(bars: Sequence[Bar]) -> Sequence[Bar]:
    return bars if len(bars) <= MOST_BARS else sorted(bars, key=first_to_look_at)[:MOST_BARS]


def _bars(axes: Axes, bars: Sequence[Bar]) -> None:
    outlined = [bar.censored and not bar.flagged for bar in bars]
    edges = [_FLAGGED if bar.flagged else _PLAIN for bar in bars]
    faces = ["none" if outline else edge for outline, edge in zip(outlined, edges, strict=True)]
    look: dict[str, Any] = {"height": 0.62, "color": faces, "edgecolor": edges, "linewidth": 1.2}
    drawn = axes.barh(range(len(bars)), [bar.length for bar in bars], **look)
    behind = {
        "facecolor": "white",
        "edgecolor": "none",
        "alpha": 0.8,
        "pad": 0.8,
    }  # keeps labels readable on the limit's line
    axes.bar_label(drawn, list(map(_size_label, bars)), padding=4, fontsize=8.5, bbox=behind)
    axes.set_yticks(range(len(bars)), [textwrap.shorten(bar.label, 28, placeholder="...") for bar in bars], fontsize=9)
    axes.set_ylim(len(bars) - 0.4, -0.6)


def _size_label(bar: Bar) -> str:
    if bar.size == 0:
        return "no trigger"
    return f"{bar.words or number(bar.size)}{', flagged' if bar.flagged else ', censored' if bar.censored else ''}"


def curve_chart(plot: Plot, axes: Axes | None = None) -> Axes:
    """Draw every line over queries, with emphasised lines thick."""
    with axes_to_draw_on(axes, (7.2, 4.0)) as target:
        target.set_title(plot.title, fontsize=11)
        for line in plot.lines:
            thick = {"linewidth": 3.0, "zorder": 3} if line.emphasis else {}
            alone = {"marker": "o"} if len(line.points) == 1 else {}
            target.plot(*zip(*line.points, strict=True), **look(line.colour) | thick | alone, label=f" {line.label}")
        if plot.log:
            logarithmic(target, "y", (1.0, 2.0, 5.0))
        in_short(target.xaxis)
        target.set_xlim(left=0)
        target.set_xlabel("queries")
        target.set_ylabel(_broken(plot.unit, 40))
        if len(plot.lines) > 1:
            _legend(target, beside=axes is None)
        plain(target)
    return target


def _legend(axes: Axes, *, beside: bool) -> None:
    """Add a legend beside the axes of a figure of our own, else inside, where it cannot cover other axes."""
    place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)} if beside else {"loc": "best"}
    axes.legend(frameon=False, fontsize=9, **place)


def _broken(words: str, width: int) -> str:
    return "\n".join(textwrap.fill(line, width) for line in words.splitlines())


def _nothing(axes: Axes, words: str) -> Axes:
    """Write on empty axes why they are empty."""
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", color=_QUIET)
    axes.set_axis_off()
    return axes
