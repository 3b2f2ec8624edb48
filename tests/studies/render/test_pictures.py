"""Triggers as pictures: decoded again, every pixel is what it should be."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from simkit.triggers import Trigger
from studies.render.pictures import (
    BOTH,
    FOUND,
    NEITHER,
    ORIGINAL,
    data_uri,
    difference,
    mask_of,
    on_grey,
    overlap_of,
    photo,
)


def trigger(*on: tuple[int, int], channels: int = 3) -> Trigger:
    mask = np.zeros((1, 2, 3), np.float32)
    for row, col in on:
        mask[0, row, col] = 1.0
    return Trigger(mask, np.full((channels, 2, 3), 1.0, np.float32))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_pattern_stands_on_grey(channels: int) -> None:
    pixels = on_grey(trigger((0, 1), channels=channels))
    assert pixels.shape == (2, 3, 3)
    assert pixels[0, 1].tolist() == [255] * 3
    assert pixels[1, 1].tolist() == [128] * 3
    assert mask_of(trigger((0, 1)))[:, :, 0].tolist() == [[0, 255, 0], [0, 0, 0]]


def test_the_overlap_tells_three_kinds_of_pixels() -> None:
    pixels = overlap_of(trigger((0, 0), (0, 1)), trigger((0, 1), (1, 2)))
    told = [[tuple(pixel) for pixel in row] for row in pixels.tolist()]
    assert told == [[ORIGINAL, BOTH, NEITHER], [NEITHER, NEITHER, FOUND]]


def test_a_difference_is_amplified_until_the_largest_is_black_or_white() -> None:
    plain = np.full((3, 2, 2), 0.5, np.float32)
    changed = plain.copy()
    changed[0, 0, 0], changed[1, 1, 1] = 0.6, 0.45
    shown, times = difference(plain, changed)
    assert times == pytest.approx(5.0)
    assert shown[:, 0, 0] == pytest.approx([1.0, 0.5, 0.5])
    assert shown[:, 1, 1] == pytest.approx([0.5, 0.25, 0.5])
    same, most = difference(plain, plain)
    assert (same == 0.5).all()
    assert most == 50.0


def test_a_photo_is_the_image_and_grey_ones_stay_grey() -> None:
    image = np.zeros((3, 1, 2), np.float32)
    image[2, 0, 1] = 1.0
    assert photo(image).tolist() == [[[0, 0, 0], [0, 0, 255]]]
    assert photo(image[2:]).tolist() == [[[0, 0, 0], [255, 255, 255]]]


def test_a_data_uri_is_the_picture() -> None:
    pixels = on_grey(trigger((1, 2)))
    kind, _, coded = data_uri(pixels).partition(",")
    assert kind == "data:image/png;base64"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(coded)))), pixels)
