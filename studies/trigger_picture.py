"""A picture of triggers side by side: the original, and what was found of it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from db.errors import StorageError
from simkit.triggers import FloatArray, Trigger, stamp
from simkit.zoo.manifest import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
        _show(axes[1, column], _colours(_stamped(image, trigger)), "")
    axes[0, 0].set_ylabel("trigger")
    axes[1, 0].set_ylabel("on an image")
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=120, metadata={"Software": None})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, stream.getvalue())
    except OSError as error:
        raise StorageError(f"{path}: the picture cannot be written: {error.strerror or error}") from error


def _show(axes: Axes, pixels: NDArray[np.float32], title: str) -> None:
    axes.imshow(pixels, vmin=0.0, vmax=1.0, interpolation="nearest")
    axes.set_title(title, fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])


def _alone(trigger: Trigger) -> NDArray[Any]:
    background = np.array([0.75, 0.85, 1.0], np.float32)
    mask = trigger.mask.transpose(1, 2, 0)
    alone: NDArray[Any] = (1.0 - mask) * background + mask * _colours(trigger.pattern)
    return alone


def _stamped(image: FloatArray, trigger: Trigger) -> FloatArray:
    mask, pattern = torch.from_numpy(trigger.mask), torch.from_numpy(trigger.pattern)
    return stamp(torch.from_numpy(image)[None], mask[None], pattern[None])[0].numpy()


def _colours(image: FloatArray) -> NDArray[Any]:
    """(H, W, 3) of (C, H, W): other than three channels are averaged to grey."""
    coloured = image if len(image) == 3 else np.repeat(image.mean(axis=0, keepdims=True), 3, axis=0)
    return coloured.transpose(1, 2, 0)
