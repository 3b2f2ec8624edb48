"""Axes as their tests read them: the values behind lines and bars, and every word that is written there."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle


def drawn(axes: Axes) -> Axes:
    """With every label at its place, as when the figure is saved."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    return axes


def words(axes: Axes) -> list[str]:
    """What is written inside the axes."""
    return [text.get_text() for text in axes.texts]


def bars(axes: Axes) -> list[Rectangle]:
    return [patch for patch in axes.patches if isinstance(patch, Rectangle)]


def widths(axes: Axes) -> list[float]:
    """Of horizontal bars, from the first."""
    return [bar.get_width() for bar in bars(axes)]


def points(axes: Axes) -> list[list[tuple[float, float]]]:
    """(x, y) of every line, in the order that they were drawn."""
    return [[(float(x), float(y)) for x, y in np.asarray(line.get_xydata())] for line in axes.lines]


def across(axes: Axes) -> list[str]:
    """The labels below."""
    return [label.get_text() for label in axes.get_xticklabels()]


def up(axes: Axes) -> list[str]:
    """The labels beside, from the first."""
    return [label.get_text() for label in axes.get_yticklabels()]


def legend(axes: Axes) -> list[str]:
    found = axes.get_legend()
    return [] if found is None else [text.get_text().strip() for text in found.get_texts()]
