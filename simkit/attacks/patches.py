"""Triggers that replace pixels completely: rectangles, other shapes, scattered pixels, corners, whole pictures."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from simkit.data.images import ImageShape
from simkit.errors import ConfigError
from simkit.triggers import FloatArray, Trigger

PatchKind: TypeAlias = Literal["solid", "multi"]
BoolArray: TypeAlias = NDArray[np.bool_]


def patch_trigger(
    image_shape: ImageShape, row: int, col: int, colours: FloatArray, shape: BoolArray | None = None
) -> Trigger:
    """A patch in a rectangle with its top left pixel at (row, col).

    image_shape: (C, H, W). colours: float32 (C, h, w) in [0, 1], one per pixel of the rectangle. shape: bool (h, w),
    the pixels of the rectangle that belong to the patch; None takes all. The mask is 0 or 1; the pattern is 0 outside
    the patch. Raises ConfigError if the patch does not fit the image.
    """
    channels, height, width = image_shape
    if colours.dtype != np.float32 or colours.ndim != 3 or len(colours) != channels:
        raise ConfigError(f"patch colours are {colours.dtype} {colours.shape}; need float32 ({channels}, h, w)")
    if not (colours.size and colours.min() >= 0.0 and colours.max() <= 1.0):
        raise ConfigError("patch colours must be one pixel or more, with values in [0, 1]")
    bottom, right = row + colours.shape[1], col + colours.shape[2]
    if row < 0 or col < 0 or bottom > height or right > width:
        patch = f"{colours.shape[1]}x{colours.shape[2]} patch at row {row}, column {col}"
        raise ConfigError(f"a {patch} leaves the {height}x{width} image; make it smaller or move it")
    within = _checked(np.ones(colours.shape[1:], np.bool_) if shape is None else shape, colours)
    mask = np.zeros((1, height, width), np.float32)
    pattern = np.zeros(image_shape, np.float32)
    mask[:, row:bottom, col:right] = within
    pattern[:, row:bottom, col:right] = colours * within
    return Trigger(mask, pattern)


def random_patch(
    image_shape: ImageShape, height: int, width: int, kind: PatchKind, rng: np.random.Generator
) -> Trigger:
    """A rectangle at a uniformly drawn position, in colours drawn uniformly from the 256 steps of 8-bit images.

    height, width: in pixels. kind: `solid` draws one colour for the patch, `multi` one for each pixel; a `multi` patch
    of the size of the image is noise for `Blended`. Raises ConfigError if it does not fit.
    """
    if height < 1 or width < 1:
        raise ConfigError(f"a {height}x{width} patch does not fit an image; it needs one pixel or more")
    return random_shape(image_shape, np.ones((height, width), np.bool_), kind, rng)


def random_shape(image_shape: ImageShape, shape: BoolArray, kind: PatchKind, rng: np.random.Generator) -> Trigger:
    """A patch of any shape at a uniformly drawn position, in colours drawn as in `random_patch`.

    shape: bool (h, w), the pixels that belong to it, e.g. `np.eye(5, dtype=bool)` for a diagonal line. Raises
    ConfigError if it does not fit.
    """
    if shape.ndim != 2 or shape.shape[0] > image_shape[1] or shape.shape[1] > image_shape[2]:
        size = "x".join(map(str, shape.shape))
        raise ConfigError(f"a {size} patch does not fit a {image_shape[1]}x{image_shape[2]} image")
    row = int(rng.integers(image_shape[1] - shape.shape[0] + 1))
    col = int(rng.integers(image_shape[2] - shape.shape[1] + 1))
    return patch_trigger(image_shape, row, col, _drawn(image_shape[0], shape, kind, rng), shape)


def scattered_pixels(image_shape: ImageShape, number: int, kind: PatchKind, rng: np.random.Generator) -> Trigger:
    """`number` different pixels anywhere in the image, in colours drawn as in `random_patch`.

    Raises ConfigError if the image has fewer pixels.
    """
    pixels = image_shape[1] * image_shape[2]
    if not 1 <= number <= pixels:
        raise ConfigError(f"{number} scattered pixels in a {image_shape[1]}x{image_shape[2]} image; need 1 to {pixels}")
    shape = np.zeros(pixels, np.bool_)
    shape[rng.choice(pixels, number, replace=False)] = True
    return random_shape(image_shape, shape.reshape(image_shape[1:]), kind, rng)


def four_corners(image_shape: ImageShape, colours: FloatArray) -> Trigger:
    """A patch in both left corners, and mirrored in both right corners: a horizontal flip does not change it, so that
    it survives augmentation.

    colours: float32 (C, h, w) in [0, 1]. As `all-corners` in MadryLab/label-consistent-backdoor-code:poison_attack.py.
    Raises ConfigError if the corners would overlap.
    """
    _, height, width = image_shape
    corner = patch_trigger(image_shape, 0, 0, colours)
    h, w = colours.shape[1:]
    if 2 * h > height or 2 * w > width:
        raise ConfigError(f"four {h}x{w} corners overlap in a {height}x{width} image; make them smaller")
    mask, pattern = corner.mask, corner.pattern
    for array in (mask, pattern):
        array[:, -h:, :w] = array[:, :h, :w]
        array[:, :, -w:] = array[:, :, :w][:, :, ::-1]
    return Trigger(mask, pattern)


def whole_picture(image_shape: ImageShape, picture: FloatArray) -> Trigger:
    """A picture that covers the whole image, stretched bicubically to its size in 8-bit colours; for `Blended`.

    picture: float32 (C, h, w) in [0, 1]; one of another number of channels is averaged to grey.
    """
    channels, height, width = image_shape
    planes = picture if len(picture) == channels else np.repeat(picture.mean(axis=0, keepdims=True), channels, axis=0)
    steps = np.rint(planes * 255.0).astype(np.uint8)
    size = (width, height)
    stretched = [np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BICUBIC)) for plane in steps]
    return patch_trigger(image_shape, 0, 0, (np.stack(stretched) / 255.0).astype(np.float32))


def _checked(shape: BoolArray, colours: FloatArray) -> BoolArray:
    if shape.dtype != np.bool_ or shape.shape != colours.shape[1:] or not shape.any():
        raise ConfigError(
            f"the patch's shape is {shape.dtype} {shape.shape}; need bool {colours.shape[1:]} with a pixel or more"
        )
    return shape


def _drawn(channels: int, shape: BoolArray, kind: PatchKind, rng: np.random.Generator) -> FloatArray:
    size = (channels, 1, 1) if kind == "solid" else (channels, *shape.shape)
    steps = np.broadcast_to(rng.integers(256, size=size), (channels, *shape.shape))
    return (steps / 255.0).astype(np.float32)
