"""A picture of triggers side by side: the original, and what was found of it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from simkit.files import make_folder, write_atomically
from simkit.triggers import FloatArray, Trigger
from studies.trigger_files import coloured, stamped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BACKGROUND = np.array([0.75, 0.85, 1.0], np.float32)[:, None, None]


def compare_triggers(path: Path, triggers: Mapping[str, Trigger], image: FloatArray) -> None:
    """Write a PNG with a column for each trigger: what it paints, on its own and on `image`.

    triggers: by title. image: float32 (C, H, W) in [0, 1]. Where a mask is 0 the upper picture is blue. Raises
    StorageError where the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.8 * len(triggers), 4.2), layout="constrained")  # no pyplot: it keeps global state
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(triggers), squeeze=False)
    for column, (title, trigger) in enumerate(triggers.items()):
        _show(axes[0, column], _alone(trigger), f"{title}\n{trigger.mask_size:.0f} pixels")
        _show(axes[1, column], coloured(stamped(image, trigger.mask, trigger.pattern)), "")
    axes[0, 0].set_ylabel("trigger")
    axes[1, 0].set_ylabel("on an image")
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=120, metadata={"Software": None})
    make_folder(path.parent)
    write_atomically(path, stream.getvalue())


def _show(axes: Axes, image: FloatArray, title: str) -> None:
    axes.imshow(image.transpose(1, 2, 0), vmin=0.0, vmax=1.0, interpolation="nearest")
    axes.set_title(title, fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])


def _alone(trigger: Trigger) -> FloatArray:
    background = np.broadcast_to(_BACKGROUND, (3, *trigger.mask.shape[1:])).copy()
    return stamped(background, trigger.mask, coloured(trigger.pattern))
