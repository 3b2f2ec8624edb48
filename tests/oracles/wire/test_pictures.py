"""Pictures: exact for every 8-bit pixel, and hostile ones are refused before they are decoded."""

from __future__ import annotations

import base64
import io
import struct
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, PngImagePlugin

from oracles.errors import InvalidImages
from oracles.oracle import ImageShape
from oracles.restrict import Quantized
from oracles.wire.contract import Problem
from oracles.wire.pictures import from_base64, from_picture, to_base64, to_png
from tests.oracles.fakes import LinearOracle

ALL = (np.arange(256, dtype=np.float32) / np.float32(255)).reshape(1, 16, 16)
"""Every 8-bit pixel once."""

RED_DOT = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108020000009077"
    "53de0000000c4944415478da63f8cfc0000003010100c9fe92ef0000000049454e44ae426082"
)
"""A PNG of one red pixel, written by hand from the PNG specification."""


def picture(mode: str, size: tuple[int, int] = (2, 2), file: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new(mode, size).save(stream, file)
    return stream.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def claims(width: int, height: int) -> bytes:
    """A PNG of 74 bytes or so that claims a size and holds no such pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 10)) + chunk(b"IEND", b"")


def refused(data: bytes, shape: ImageShape = (3, 2, 2)) -> Problem:
    with pytest.raises(Problem) as caught:
        from_picture(data, shape)
    return caught.value


def test_every_pixel_of_8_bits_survives() -> None:
    np.testing.assert_array_equal(from_picture(to_png(ALL), (1, 16, 16)), ALL)
    colour = np.concatenate([ALL, ALL[:, ::-1], ALL.transpose(0, 2, 1)])
    np.testing.assert_array_equal(from_base64(to_base64(colour), (3, 16, 16), "inputs"), colour)


@given(arrays(np.float32, (3, 4, 5), elements=st.floats(0, 1, width=32)))
def test_a_picture_is_what_quantized_makes_of_an_image(image: np.ndarray) -> None:
    seen = Quantized(LinearOracle(image_shape=(3, 4, 5))).before(torch.from_numpy(image)[None], None)
    np.testing.assert_array_equal(from_picture(to_png(image), (3, 4, 5)), seen[0].numpy())


def test_known_bytes() -> None:
    np.testing.assert_array_equal(from_picture(RED_DOT, (3, 1, 1)).ravel(), [1, 0, 0])
    luma = from_picture(RED_DOT, (1, 1, 1)).ravel()
    np.testing.assert_array_equal(luma, [np.float32(76) / np.float32(255)])  # 0.299 * 255, ITU-R 601-2


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
@pytest.mark.parametrize("channels", [1, 3])
def test_modes_become_the_channels_of_the_model(mode: str, channels: int) -> None:
    assert from_picture(picture(mode), (channels, 2, 2)).shape == (channels, 2, 2)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_is_read(mode: str) -> None:
    image = from_picture(picture(mode, file="JPEG"), (3, 2, 2))
    assert image.dtype == np.float32
    assert image.shape == (3, 2, 2)
    assert 0 <= image.min() <= image.max() <= 1


def test_another_size_is_refused_and_named() -> None:
    problem = refused(picture("RGB", (5, 4)))
    assert problem.kind == "invalid_images"
    assert "5 pixels wide and 4 high" in problem.message
    assert "2 by 2" in problem.message


@pytest.mark.parametrize("side", [9_000, 100_000, 2**31 - 1])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_header_that_claims_gigabytes_is_refused_undecoded(side: int) -> None:
    assert refused(claims(side, side)).kind == "invalid_images"


def test_sixteen_bits_are_refused() -> None:
    assert "8 bits" in refused(picture("I;16"), (1, 2, 2)).message


@pytest.mark.parametrize("file", ["GIF", "BMP", "TIFF", "WEBP", "PPM", "ICO"])
def test_other_files_are_refused(file: str) -> None:
    assert refused(picture("RGB", file=file)).kind == "invalid_images"


@pytest.mark.parametrize("data", [b"", b"hello", RED_DOT[:40], RED_DOT[:-30]], ids=len)
def test_what_is_no_whole_picture_is_refused(data: bytes) -> None:
    assert refused(data, (3, 1, 1)).kind == "invalid_images"


def test_a_picture_with_too_few_pixels_is_refused() -> None:
    assert refused(claims(9, 9), (3, 9, 9)).kind == "invalid_images"


def test_text_that_unpacks_to_a_bomb_is_refused() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("note", "x" * 10**8, zip=True)
    stream = io.BytesIO()
    Image.new("RGB", (2, 2)).save(stream, "PNG", pnginfo=info)
    assert refused(stream.getvalue()).kind == "invalid_images"


@given(st.binary(max_size=200), st.integers(0, 60))
def test_damaged_bytes_raise_nothing_but_problem(data: bytes, at: int) -> None:
    for hostile in (data, RED_DOT[:at] + data, RED_DOT[:at] + data + RED_DOT[at + len(data) :]):
        kind = "invalid_images"
        try:
            from_picture(hostile, (3, 1, 1))
        except Problem as problem:
            kind = problem.kind
        assert kind == "invalid_images"


@pytest.mark.parametrize("text", [None, 3, ["a"], {}, "a", "ä", "!!!!", "aGVsbG8", base64.b64encode(RED_DOT)], ids=repr)
def test_what_is_no_base64_text_is_refused(text: object) -> None:
    with pytest.raises(Problem, match="inputs") as caught:
        from_base64(text, (3, 1, 1), "inputs")
    assert caught.value.kind == "bad_request"


@pytest.mark.parametrize("channels", [0, 2, 4])
def test_other_channels_are_refused_on_both_sides(channels: int) -> None:
    with pytest.raises(Problem) as caught:
        to_png(np.zeros((channels, 2, 2), np.float32))
    assert caught.value.kind == "unsupported"
    assert refused(RED_DOT, (channels, 1, 1)).kind == "unsupported"


@pytest.mark.parametrize("value", [-0.01, 1.01, np.nan, np.inf])
def test_pixels_that_a_picture_cannot_hold_are_refused(value: float) -> None:
    with pytest.raises(InvalidImages, match="clip"):
        to_png(np.full((1, 2, 2), value, np.float32))
