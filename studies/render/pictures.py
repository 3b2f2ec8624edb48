"""Triggers and images as small PNGs inside a page: one PNG pixel per image pixel, enlarged by the browser."""

from __future__ import annotations

import base64
import io
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from simkit.transforms.contract import Transform
from simkit.triggers import FloatArray, Trigger

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


def overlap_of(original: Transform, reversed_trigger: Transform) -> Pixels:
    """uint8 (H, W, 3): pixels where both masks, only one of them, or neither is above 0.5; for patches of one shape."""
    one, other = original.as_patch, reversed_trigger.as_patch
    assert one is not None
    assert other is not None
    first, second = one.mask[0] > 0.5, other.mask[0] > 0.5
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


def coloured(image: FloatArray) -> FloatArray:
    """An image (C, H, W) as (3, H, W), averaged to grey unless it has three channels."""
    return image if len(image) == 3 else np.repeat(image.mean(axis=0, keepdims=True), 3, axis=0)
