"""One encoded image to pixels: what of its format is kept, and how it is brought to a size.

Grey stays one channel, everything else becomes RGB as Pillow's `convert` makes it: palettes are looked up, transparency
is dropped. A photograph is turned upright as its EXIF orientation says. Formats of more than 8 bits a channel are
refused. A size is reached with Pillow's bilinear filter, which torchvision's `Resize` takes too: both sides are
stretched, nothing is cropped.
"""

from __future__ import annotations

from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from oracles.errors import one_line
from simkit.data.images import ImageShape
from simkit.errors import DataError

_GREY, _COLOUR = ("L", "1"), ("RGB", "RGBA", "P", "CMYK", "YCbCr", "LA", "PA")
_ORIENTATION, _SIDEWAYS = 0x0112, frozenset({5, 6, 7, 8})


def open_image(file: Path | IO[bytes], where: str) -> Image.Image:
    """The image, of which only the header is read yet. Raises DataError that begins with `where`."""
    try:
        image = Image.open(file)
    except OSError as error:
        if error.errno is not None:  # the file, not what is in it
            raise DataError(f"{where}: cannot be read: {error.strerror}") from error
        raise DataError(f"{where}: is not an image that can be read") from error
    except Exception as error:  # Pillow's decoders raise many kinds
        raise DataError(f"{where}: is not an image that can be read: {one_line(error)}") from error
    if channels(image) == 0:
        raise DataError(f"{where}: has the pixel format {image.mode}; store 8 bits a channel")
    return image


def channels(image: Image.Image) -> int:
    """1 for grey, 3 for colour, 0 for a format that is not 8 bits a channel."""
    return 1 if image.mode in _GREY else 3 if image.mode in _COLOUR else 0


def shape_of(image: Image.Image, where: str) -> ImageShape:
    """(C, H, W) of the upright image, from its header alone: a header may promise gigabytes."""
    try:
        sideways = _has_exif(image) and image.getexif().get(_ORIENTATION) in _SIDEWAYS
    except Exception as error:  # of damaged EXIF data
        raise DataError(f"{where}: its EXIF data cannot be read: {one_line(error)}") from error
    height, width = (image.width, image.height) if sideways else (image.height, image.width)
    return channels(image), height, width


def to_pixels(image: Image.Image, shape: ImageShape, where: str) -> NDArray[np.uint8]:
    """uint8 of `shape` (C, H, W), stretched where the size is another. Raises DataError for a damaged image."""
    try:
        upright = ImageOps.exif_transpose(image) if _has_exif(image) else image
        upright = upright.convert("L" if shape[0] == 1 else "RGB")
    except Exception as error:  # Pillow's decoders raise many kinds
        raise DataError(f"{where}: cannot be decoded: {one_line(error)}") from error
    if (upright.height, upright.width) != shape[1:]:
        upright = upright.resize((shape[2], shape[1]), Image.Resampling.BILINEAR)
    pixels = np.asarray(upright)
    return pixels[None] if shape[0] == 1 else pixels.transpose(2, 0, 1)


def _has_exif(image: Image.Image) -> bool:
    """Whether the header holds EXIF data: asked for more, Pillow decodes a PNG to look behind its pixels."""
    return "exif" in image.info
