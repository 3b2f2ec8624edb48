"""Decodes one image to pixels, and resizes it if necessary.

Grey images keep one channel, all others become RGB by Pillow's `convert`: palettes are resolved and transparency is
dropped. Photographs are rotated according to their EXIF orientation. Formats with more than 8 bits per channel are
rejected. Images are resized with Pillow's bilinear filter, as in torchvision's `Resize`: both sides are stretched and
nothing is cropped.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from oracles.errors import one_line
from oracles.known_files import file_mistaken_for
from oracles.outside import IMAGE_BYTES, read_outside
from simkit.data.images import ImageShape
from simkit.errors import DataError

_MOST_PIXELS = 2**26
_TOO_LARGE = f"promises more than {_MOST_PIXELS:,} pixels; store it smaller"

_GREY, _COLOUR = ("L", "1"), ("RGB", "RGBA", "P", "CMYK", "YCbCr", "LA", "PA")
_ORIENTATION, _SIDEWAYS = 0x0112, frozenset({5, 6, 7, 8})


def open_image(file: Path | IO[bytes], where: str) -> Image.Image:
    """The image, with only its header decoded. Raises DataError with a message that begins with `where`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # those are refused below
            stream = io.BytesIO(read_outside(file, IMAGE_BYTES).data) if isinstance(file, Path) else file
            image = Image.open(stream)
    except Image.DecompressionBombError as error:
        raise DataError(f"{where}: {_TOO_LARGE}") from error
    except OSError as error:
        if error.errno is not None:  # an error of the file system, not of the content
            raise DataError(f"{where}: cannot be read: {error.strerror}") from error
        kind = file_mistaken_for(file) if isinstance(file, Path) else ""
        raise DataError(f"{where}: is {kind or 'not an image that can be read'}") from error
    except Exception as error:  # Pillow's decoders raise many kinds
        raise DataError(f"{where}: is not an image that can be read: {one_line(error)}") from error
    if image.width * image.height > _MOST_PIXELS:
        raise DataError(f"{where}: {_TOO_LARGE}")
    if channels(image) == 0:
        raise DataError(f"{where}: has the pixel format {image.mode}; store 8 bits per channel")
    return image


def channels(image: Image.Image) -> int:
    """1 for grey, 3 for colour, 0 for a format without 8 bits per channel."""
    return 1 if image.mode in _GREY else 3 if image.mode in _COLOUR else 0


def shape_of(image: Image.Image, where: str) -> ImageShape:
    """(C, H, W) of the upright image, from its header only, since a header may claim gigabytes."""
    try:
        sideways = _has_exif(image) and image.getexif().get(_ORIENTATION) in _SIDEWAYS
    except Exception as error:  # damaged EXIF data
        raise DataError(f"{where}: its EXIF data cannot be read: {one_line(error)}") from error
    height, width = (image.width, image.height) if sideways else (image.height, image.width)
    return channels(image), height, width


def to_pixels(image: Image.Image, shape: ImageShape, where: str) -> NDArray[np.uint8]:
    """uint8 pixels of `shape` (C, H, W), stretched if the image has another size. Raises DataError if it is damaged."""
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
    """Whether the header holds EXIF data. Asking Pillow for EXIF data in general would decode the whole PNG."""
    return "exif" in image.info
