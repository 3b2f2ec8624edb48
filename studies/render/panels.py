"""Pictures of triggers side by side, such as an original trigger and its reversed ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from simkit.files import make_folder, write_atomically
from simkit.transforms.contract import Transform
from simkit.triggers import FloatArray, Trigger, in_short
from studies.render.figures import rendered
from studies.render.pictures import coloured, difference
from studies.render.trigger_views import View, on_image, views

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BACKGROUND = np.array([0.75, 0.85, 1.0], np.float32)[:, None, None]


@dataclass(frozen=True, eq=False)
class Panel:
    """One column of a row: a title above two images (C, H, W), each of which may be missing."""

    title: str
    upper: FloatArray | None = None
    lower: FloatArray | None = None


def trigger_panel(title: str, trigger: Transform, image: FloatArray) -> Panel:
    """A panel with the trigger on an image (C, H, W), and above it a patch alone, or what another family does."""
    after = on_image(trigger, image)
    if (patch := trigger.as_patch) is not None:
        pixels = f"{patch.mask_size:.0f} {'pixel' if patch.mask_size == 1 else 'pixels'}"
        return Panel(f"{title}\n{pixels}", _alone(patch), after)
    first = views(trigger, image)[0]
    return Panel(f"{title}\n{in_short(trigger.strength)} {trigger.unit},\n{first.caption}", _planes(first), after)


def effect_panel(title: str, trigger: Transform, image: FloatArray) -> Panel:
    """A panel with the trigger on an image (C, H, W), and below it what the trigger changes, magnified, on grey."""
    after = on_image(trigger, image)
    changed, times = difference(image, after)
    return Panel(f"{title}\n{in_short(trigger.strength)} {trigger.unit},\ndifference, x{times:.1f}", after, changed)


def arrows_panel(first: tuple[str, Transform], second: tuple[str, Transform], image: FloatArray) -> tuple[Panel, ...]:
    """A panel with the arrows of two named triggers, one above the other; none where neither moves the image's content.

    image: float32 (C, H, W).
    """
    shown = [views(trigger, image)[0] if trigger.arrows is not None else None for _, trigger in (first, second)]
    names = [f"{name}\n{view.caption}" for (name, _), view in zip((first, second), shown, strict=True) if view]
    pictures = [None if view is None else _planes(view) for view in shown]
    return (Panel("\n".join(names), *pictures),) if names else ()


def draw_panels(
    path: Path,
    rows: Sequence[Sequence[Panel]],
    labels: Sequence[str] = (),
    title: str = "",
    sides: tuple[str, str] = ("trigger", "on an image"),
) -> None:
    """Write a picture of rows of panels; shorter rows are filled up with empty panels.

    path: SVG if it ends in .svg, else PNG. labels: texts to the left of the rows. title: text above all rows. sides:
    what the upper and the lower images are. Raises StorageError where the file cannot be written.
    """
    drawn = rendered(lambda: _figure(rows, labels, title, sides), "svg" if path.suffix == ".svg" else "png")
    make_folder(path.parent)
    write_atomically(path, drawn)


def _figure(rows: Sequence[Sequence[Panel]], labels: Sequence[str], title: str, sides: tuple[str, str]) -> Figure:
    from matplotlib.figure import Figure

    columns = max(map(len, rows))
    figure = Figure(figsize=(1.8 * columns, 4.2 * len(rows)), layout="constrained")
    axes = figure.subplots(2 * len(rows), columns, squeeze=False)
    for number, row in enumerate(rows):
        upper, lower = axes[2 * number], axes[2 * number + 1]
        for column, panel in enumerate([*row, *[Panel("")] * (columns - len(row))]):
            _show(upper[column], panel.upper, panel.title)
            _show(lower[column], panel.lower, "")
        label = f"{labels[number]}: " if labels else ""
        upper[0].set_ylabel(f"{label}{sides[0]}")
        lower[0].set_ylabel(sides[1])
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def _show(axes: Axes, image: FloatArray | None, title: str) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])
    if image is None:
        axes.set_frame_on(False)
    else:
        axes.imshow(coloured(image).transpose(1, 2, 0), vmin=0.0, vmax=1.0, interpolation="nearest")


def _planes(view: View) -> FloatArray:
    """The pixels of a view as float32 (3, h, w) in [0, 1]."""
    planes: FloatArray = (view.pixels.transpose(2, 0, 1) / 255.0).astype(np.float32)
    return planes


def _alone(trigger: Trigger) -> FloatArray:
    background = np.broadcast_to(_BACKGROUND, (3, *trigger.mask.shape[1:])).copy()
    return on_image(Trigger(trigger.mask, coloured(trigger.pattern)), background)
