"""The figure system: how every matplotlib figure of simkit is styled, drawn and saved.

matplotlib is slow to import, so it is imported only where something is drawn; pyplot is not used, as it keeps global
state.
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
"""The palette of Okabe and Ito, which colour-blind readers can distinguish; with four line styles it gives 28 looks."""

_LINES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))

_GRID = "#e4e8ec"

SETTINGS: dict[Any, Any] = {"text.parse_math": False, "svg.hashsalt": "simkit", "svg.fonttype": "path"}
"""A `$` in a name starts no formula, equal figures give equal files, and text is drawn without the viewer's fonts."""


@dataclass(frozen=True, eq=False)
class Drawing:
    """A figure in all its formats. name: of its files. alt: a description for screen readers. csv: the drawn values."""

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
    """The figure that `draw` makes, drawn and saved under `SETTINGS` in that format and without a date."""
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
    """`axes`, or those of a new figure of that size in inches; their text is never read as a formula."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    with rc_context(SETTINGS):
        target = Figure(figsize=size, layout="constrained").subplots() if axes is None else axes
        yield target
        for text in target.findobj(Text):
            assert isinstance(text, Text)
            text.set_parse_math(False)  # axes made elsewhere do not follow SETTINGS


def look(number: int) -> dict[str, Any]:
    """How the curve of that number is drawn."""
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": _LINES[number % len(_LINES)], "linewidth": 1.8}


def looks(labels: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The colour and line style of each curve by its label, the same in all panels."""
    return {label: look(number) for number, label in enumerate(dict.fromkeys(labels))}


def plain(axes: Axes, grid: Literal["both", "x", "y"] = "both", hidden: Sequence[str] = ("top", "right")) -> None:
    """Draw a faint grid behind everything else, and hide the frame on these sides."""
    axes.grid(axis=grid, color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in hidden:
        axes.spines[side].set_visible(False)


def in_short(axis: Axis) -> None:
    """Write the numbers of an axis as `300`, `1.5k`, `2M`, where matplotlib would use powers of ten."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axis.set_minor_formatter(NullFormatter())


def logarithmic(axes: Axes, which: Literal["x", "y"], steps: Sequence[float]) -> None:
    """Make an axis logarithmic, with ticks at these multiples of every power of ten and short numbers."""
    from matplotlib.ticker import LogLocator

    axis: Axis = {"x": axes.xaxis, "y": axes.yaxis}[which]
    axes.set(**{f"{which}scale": "log"})
    axis.set_major_locator(LogLocator(subs=steps))
    in_short(axis)


def csv_text(columns: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """The values that a figure draws, as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()
