"""Figures that are shown on a page and kept in files: how all of them are saved."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Form: TypeAlias = Literal["png", "svg"]

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Of Okabe and Ito, told apart by the colour-blind; with the lines below 28 curves look different."""

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


def saved(figure: Figure, form: Form) -> bytes:
    """The figure as a file of that form, without a date, under `SETTINGS`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)  # no pyplot: it keeps global state
    stream = io.BytesIO()
    figure.savefig(stream, format=form, dpi=150, metadata={"Date": None} if form == "svg" else {"Software": None})
    return stream.getvalue()
