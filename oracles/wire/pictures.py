"""Images as pictures: PNG with 8 bits per channel, and base64 text of it, which formats without tensors carry.

A pixel x becomes round(255 * x) and is read as that divided by 255, exactly as `Quantized` rounds it. PNG keeps it;
JPEG is read as well but never written, since it changes pixels. A picture of another size than the model's is refused,
so that no resizing stands between what a caller sends and what the model sees.
"""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from oracles.answers import FloatArray
from oracles.errors import InvalidImages, one_line
from oracles.oracle import ImageShape
from oracles.wire.contract import Problem

READ = ("PNG", "JPEG")
"""Formats of pictures that are read; every other decoder of Pillow stays unused."""

_MODES = {1: "L", 3: "RGB"}
_EIGHT_BITS = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"})


def to_png(image: FloatArray) -> bytes:
    """The PNG file of one image, float32 (C, H, W) in [0, 1] with 1 or 3 channels.

    Raises InvalidImages on other values, and Problem (`unsupported`) on another number of channels.
    """
    mode = _mode(image.shape[0])
    if not (float(image.min()) >= 0.0 and float(image.max()) <= 1.0):
        raise InvalidImages("pixels lie outside [0, 1]; clip them, since a picture can hold no others")
    pixels = np.rint(image * np.float32(255.0)).astype(np.uint8)
    stream = io.BytesIO()
    plane = pixels[0] if mode == "L" else np.ascontiguousarray(pixels.transpose(1, 2, 0))
    Image.fromarray(plane).save(stream, "PNG", compress_level=1)  # small pictures: speed counts more than bytes
    return stream.getvalue()


def from_picture(data: bytes, shape: ImageShape) -> FloatArray:
    """The image in a PNG or JPEG file, float32 of `shape` (C, H, W) in [0, 1].

    Grey becomes colour or colour grey as the model's channels need it; transparency is dropped, and pixels are taken as
    stored, whatever an EXIF orientation says. Raises Problem: `invalid_images` on anything but a whole picture of the
    model's size with 8 bits per channel, `unsupported` if the model has neither 1 nor 3 channels.
    """
    mode = _mode(shape[0])
    pixels = _decoded(data, mode, (shape[1], shape[2]))
    planes = pixels[None] if mode == "L" else pixels.transpose(2, 0, 1)
    return np.ascontiguousarray(planes).astype(np.float32) / np.float32(255.0)


def to_base64(image: FloatArray) -> str:
    """The base64 text of `to_png`."""
    return base64.b64encode(to_png(image)).decode("ascii")


def from_base64(text: object, shape: ImageShape, where: str) -> FloatArray:
    """The image in base64 text of a PNG or JPEG file; see `from_picture`.

    where: the name of the field, for messages. Raises Problem: also `bad_request` if it is no base64 text.
    """
    if not isinstance(text, str):
        raise Problem("bad_request", f"{where} must be a picture as base64 text")
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:  # also of characters beyond ASCII
        raise Problem("bad_request", f"{where} is not base64; encode the bytes of a PNG or JPEG file") from None
    return from_picture(data, shape)


def _mode(channels: int) -> str:
    mode = _MODES.get(channels)
    if mode is None:
        raise Problem("unsupported", f"pictures have 1 or 3 channels, this model takes {channels}; send tensors")
    return mode


def _decoded(data: bytes, mode: str, size: tuple[int, int]) -> NDArray[np.uint8]:
    """uint8 pixels. The size is compared before anything is decoded: a header of 74 bytes may claim gigabytes."""
    if not data:
        raise Problem("invalid_images", "the picture is empty; send a PNG or JPEG file")
    try:
        with Image.open(io.BytesIO(data), formats=READ) as picture:
            _check(picture, size)
            return np.asarray(picture.convert(mode))
    except Problem:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds
        said = "" if isinstance(error, UnidentifiedImageError) else f" ({one_line(error)})"
        raise Problem("invalid_images", f"the picture cannot be read{said}; send a whole PNG or JPEG file") from None


def _check(picture: Image.Image, size: tuple[int, int]) -> None:
    if (picture.height, picture.width) != size:
        given = f"{picture.width} pixels wide and {picture.height} high"
        raise Problem("invalid_images", f"the picture is {given}; this model takes {size[1]} by {size[0]}")
    if picture.mode not in _EIGHT_BITS:
        raise Problem("invalid_images", f"the picture has the pixel format {picture.mode}; store 8 bits per channel")
