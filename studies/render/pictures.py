"""Triggers and images as small PNGs inside a page: one PNG pixel per image pixel, enlarged by the browser."""

from __future__ import annotations

import base64
import io
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from simkit.triggers import FloatArray, Trigger, put_on

Pixels: TypeAlias = NDArray[np.uint8]

BOTH, ORIGINAL, FOUND, NEITHER = (0, 158, 115), (0, 114, 178), (230, 159, 0), (225, 225, 225)
"""Colours of the overlap picture, from the palette of Okabe and Ito, which colour-blind readers can distinguish."""

_MOST_TIMES = 50.0


def on_grey(trigger: Trigger) -> Pixels:
    """uint8 (H, W, 3): the trigger stamped on a grey image; images without three channels are averaged to grey."""
    return photo(trigger.mask * trigger.pattern + (1.0 - trigger.mask) * np.float32(0.5))


def mask_of(trigger: Trigger) -> Pixels:
    """uint8 (H, W, 3): the mask, white where the trigger replaces the image and black where it does not."""
    return _pixels(np.repeat(trigger.mask, 3, axis=0))


def overlap_of(original: Trigger, reversed_trigger: Trigger) -> Pixels:
    """uint8 (H, W, 3): pixels where both masks, only one of them, or neither is above 0.5; equal shapes required."""
    first, second = original.mask[0] > 0.5, reversed_trigger.mask[0] > 0.5
    colours = np.array([NEITHER, ORIGINAL, FOUND, BOTH], np.uint8)
    chosen: Pixels = colours[first.astype(np.int64) + 2 * second]
    return chosen


def photo(image: FloatArray) -> Pixels:
    """uint8 (H, W, 3): an image (C, H, W), averaged to grey unless it has three channels."""
    return _pixels(image if len(image) == 3 else np.repeat(image.mean(axis=0, keepdims=True), 3, axis=0))


def difference(plain: FloatArray, changed: FloatArray) -> tuple[FloatArray, float]:
    """The amplified difference of two images on grey, (C, H, W) in [0, 1], and its amplification factor.

    The factor makes the largest change black or white, but is at most 50; equal images give plain grey.
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
"""Minimum length of a panel's longer side, in pixels."""


def picture(trigger: Trigger) -> bytes:
    """A PNG of the mask, and beside it the trigger stamped on a grey image."""
    grey = np.full_like(trigger.pattern, 0.5)
    panels = [_panel(trigger.mask), _panel(stamped(grey, trigger.mask, trigger.pattern))]
    gap = np.full((panels[0].shape[0], 8, 3), 255, np.uint8)
    stream = io.BytesIO()
    Image.fromarray(np.concatenate([panels[0], gap, panels[1]], axis=1)).save(stream, format="PNG")
    return stream.getvalue()


def stamped(image: FloatArray, mask: FloatArray, pattern: FloatArray) -> FloatArray:
    """The image (C, H, W) with a trigger of mask (1, H, W) and pattern (C, H, W) stamped on it."""
    copy = image[None].copy()
    put_on(copy, mask[None], pattern[None])
    stamped_image: FloatArray = copy[0]
    return stamped_image


def coloured(image: FloatArray) -> FloatArray:
    """An image (C, H, W) as (3, H, W), averaged to grey unless it has three channels."""
    return image if len(image) == 3 else np.repeat(image.mean(axis=0, keepdims=True), 3, axis=0)


def _panel(image: FloatArray) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """uint8 (h, w, 3): an image (C, H, W), with every pixel enlarged to a square."""
    times = max(1, -(-_SIDE // max(image.shape[1:])))
    pixels = np.rint(coloured(image).transpose(1, 2, 0) * 255.0).astype(np.uint8)
    panel: np.ndarray[Any, np.dtype[np.uint8]] = pixels.repeat(times, axis=0).repeat(times, axis=1)
    return panel
