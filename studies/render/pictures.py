"""Triggers as small pictures inside the page: PNGs of one pixel a pixel, which the browser enlarges."""

from __future__ import annotations

import base64
import io
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from db.records import TriggerRow
from simkit.triggers import FloatArray, Trigger, stamp

Pixels: TypeAlias = NDArray[np.uint8]

BOTH, ORIGINAL, FOUND, NEITHER = (0, 158, 115), (0, 114, 178), (230, 159, 0), (225, 225, 225)
"""Colours of the overlap (Okabe and Ito, told apart by the colour-blind too)."""

_MOST_TIMES = 50.0


def on_grey(trigger: Trigger) -> Pixels:
    """uint8 (H, W, 3): the pattern where the mask is, on grey; other than three channels are averaged."""
    return photo(trigger.mask * trigger.pattern + (1.0 - trigger.mask) * np.float32(0.5))


def mask_of(trigger: Trigger) -> Pixels:
    """uint8 (H, W, 3): white where the trigger is, black where the image stays."""
    return _pixels(np.repeat(trigger.mask, 3, axis=0))


def overlap_of(original: Trigger, found: Trigger) -> Pixels:
    """uint8 (H, W, 3): where the masks are above one half, both, one, or none. They must be of one shape."""
    first, second = original.mask[0] > 0.5, found.mask[0] > 0.5
    colours = np.array([NEITHER, ORIGINAL, FOUND, BOTH], np.uint8)
    chosen: Pixels = colours[first.astype(np.int64) + 2 * second]
    return chosen


def photo(image: FloatArray) -> Pixels:
    """uint8 (H, W, 3) of an image (C, H, W); other than three channels are averaged to grey."""
    return _pixels(image if len(image) == 3 else np.repeat(image.mean(axis=0, keepdims=True), 3, axis=0))


def difference(plain: FloatArray, changed: FloatArray) -> tuple[FloatArray, float]:
    """What was added to an image, on grey: (C, H, W) in [0, 1], and how many times it is amplified.

    So that the largest change is black or white, but 50 times at most; equal images are plain grey.
    """
    added = changed - plain
    times = min(_MOST_TIMES, 0.5 / max(float(np.abs(added).max()), 1e-9))
    return np.clip(0.5 + times * added, 0.0, 1.0).astype(np.float32), times


def data_uri(pixels: Pixels) -> str:
    """The picture as `data:image/png;base64,...`; equal pixels give equal text."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _pixels(image: FloatArray) -> Pixels:
    scaled: np.ndarray[Any, np.dtype[np.uint8]] = np.rint(np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)
    return scaled.transpose(1, 2, 0).copy()


_SIDE = 192
"""Pixels along the longer side of a picture's panel, at least."""


def picture(trigger: TriggerRow) -> bytes:
    """A PNG of the mask, and beside it of what the trigger paints on a grey image."""
    grey = np.full_like(trigger.pattern, 0.5)
    panels = [_panel(trigger.mask), _panel(stamped(grey, trigger.mask, trigger.pattern))]
    gap = np.full((panels[0].shape[0], 8, 3), 255, np.uint8)
    stream = io.BytesIO()
    Image.fromarray(np.concatenate([panels[0], gap, panels[1]], axis=1)).save(stream, format="PNG")
    return stream.getvalue()


def stamped(image: FloatArray, mask: FloatArray, pattern: FloatArray) -> FloatArray:
    """A trigger on one image: (C, H, W), (1, H, W) and (C, H, W)."""
    import torch  # slow to import; a report shows no stamped image

    one, its_mask, its_pattern = (torch.from_numpy(array)[None] for array in (image, mask, pattern))
    return stamp(one, its_mask, its_pattern)[0].numpy()


def coloured(image: FloatArray) -> FloatArray:
    """(3, H, W) of (C, H, W): other than three channels are averaged to grey."""
    return image if len(image) == 3 else np.repeat(image.mean(axis=0, keepdims=True), 3, axis=0)


def _panel(image: FloatArray) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """uint8 (h, w, 3) of a (C, H, W) image, every pixel a square."""
    times = max(1, -(-_SIDE // max(image.shape[1:])))
    pixels = np.rint(coloured(image).transpose(1, 2, 0) * 255.0).astype(np.uint8)
    panel: np.ndarray[Any, np.dtype[np.uint8]] = pixels.repeat(times, axis=0).repeat(times, axis=1)
    return panel
