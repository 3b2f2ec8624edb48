"""The figure system: how every matplotlib figure of simkit looks, where it is drawn, and how it is saved.

matplotlib is imported where something is drawn, never pyplot: it keeps global state.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from studies.render.formats import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

Form: TypeAlias = Literal["png", "svg"]

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Of Okabe and Ito, told apart by the colour-blind; with the lines below 28 curves look different."""

_LINES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))

_GRID = "#e4e8ec"

SETTINGS: dict[Any, Any] = {"text.parse_math": False, "svg.hashsalt": "simkit", "svg.fonttype": "path"}
"""A `$` in a name is no formula; equal curves give equal files; the same letters wherever it is shown."""


@dataclass(frozen=True, eq=False)
class Drawing:
    """A figure in all its forms. name: of its files. alt: what it shows, in words. csv: what is drawn."""

    name: str
    title: str
    alt: str
    svg: bytes
    png: bytes
    csv: str

    @classmethod
    def of(cls, name: str, title: str, alt: str, draw: Callable[[], Figure], csv: str) -> Drawing:
        """The figure that `draw` makes, saved in both forms; equal figures give equal bytes on one machine."""
        return cls(name, title, alt, rendered(draw, "svg"), rendered(draw, "png"), csv)


def rendered(draw: Callable[[], Figure], form: Form) -> bytes:
    """A figure, drawn and saved under `SETTINGS`, as a file of that form without a date."""
    from matplotlib import rc_context  # slow to import
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    stream = io.BytesIO()
    with rc_context(SETTINGS):
        figure = draw()
        FigureCanvasAgg(figure)
        figure.savefig(stream, format=form, dpi=150, metadata={"Date": None} if form == "svg" else {"Software": None})
    return stream.getvalue()


@contextmanager
def axes_to_draw_on(axes: Axes | None, size: tuple[float, float]) -> Iterator[Axes]:
    """`axes`, or those of a new figure of that size in inches; whatever is written there meanwhile is no formula."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    with rc_context(SETTINGS):
        target = Figure(figsize=size, layout="constrained").subplots() if axes is None else axes
        yield target
        for text in target.findobj(Text):
            assert isinstance(text, Text)
            text.set_parse_math(False)  # those of axes that were made elsewhere


def looks(labels: Iterable[str]) -> dict[str, dict[str, Any]]:
    """How each curve is drawn, by its label: one look over all panels."""
    return {
        label: {"color": COLOURS[number % len(COLOURS)], "linestyle": _LINES[number % len(_LINES)], "linewidth": 1.8}
        for number, label in enumerate(dict.fromkeys(labels))
    }


def plain(axes: Axes, grid: Literal["both", "x", "y"] = "both", hidden: Sequence[str] = ("top", "right")) -> None:
    """A faint grid behind what is drawn, and no frame but at the axes."""
    axes.grid(axis=grid, color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in hidden:
        axes.spines[side].set_visible(False)


def in_short(axis: Axis) -> None:
    """Numbers as `300`, `1.5k`, `2M`; those of matplotlib's logarithmic axes are formulas."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axis.set_minor_formatter(NullFormatter())


def logarithmic(axes: Axes, which: Literal["x", "y"], steps: Sequence[float]) -> None:
    """A logarithmic axis with marks at these multiples of every power of ten, in short numbers."""
    from matplotlib.ticker import LogLocator

    axis: Axis = {"x": axes.xaxis, "y": axes.yaxis}[which]
    axes.set(**{f"{which}scale": "log"})
    axis.set_major_locator(LogLocator(subs=steps))
    in_short(axis)


def csv_text(columns: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """What a figure draws, for programs."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()
