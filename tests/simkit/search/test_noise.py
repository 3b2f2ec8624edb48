"""Random images: their range, their spectrum, and that a stream gives them again."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simkit.errors import ConfigError
from simkit.search.noise import Kind, directions, random_image, smooth
from simkit.seeding import stream

KINDS: tuple[Kind, ...] = get_args(Kind)
SHAPES = st.tuples(st.integers(1, 3), st.integers(2, 9), st.integers(1, 9))


@given(st.sampled_from(KINDS), SHAPES, st.integers(0, 2**32))
def test_an_image_lies_in_the_unit_interval_and_comes_again(kind: Kind, shape: tuple[int, int, int], seed: int) -> None:
    image = random_image(stream(seed, "x"), shape, kind)
    assert image.shape == shape
    assert image.dtype == np.float32
    assert image.min() >= 0.0
    assert image.max() <= 1.0
    assert (image == random_image(stream(seed, "x"), shape, kind)).all()


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_amplitudes_fall_as_the_exponent_says(exponent: float) -> None:
    fields = smooth(stream(1, "x"), 400, (1, 32, 32), exponent, 0.5)
    power = (np.abs(np.fft.rfft2(fields)) ** 2).mean(axis=(0, 1))
    frequency = np.hypot(np.fft.fftfreq(32)[:, None], np.fft.rfftfreq(32)[None])
    inner = (frequency > 0.05) & (frequency < 0.4)
    slope = np.polyfit(np.log(frequency[inner]), np.log(power[inner]), 1)[0]
    assert slope == pytest.approx(-2 * exponent, abs=0.1)


def test_fields_have_unit_deviation_and_share_what_they_are_told_to() -> None:
    for shared in (0.0, 0.6, 1.0):
        fields = smooth(stream(2, "x"), 300, (2, 16, 16), 0.0, shared)
        assert fields.std(axis=(1, 2, 3)) == pytest.approx(1.0, abs=1e-5)
        first, second = fields.transpose(1, 0, 2, 3).reshape(2, -1)
        assert np.corrcoef(first, second)[0, 1] == pytest.approx(shared**2, abs=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_directions_have_unit_rms_each_of_its_own(kind: Kind) -> None:
    noise = directions(stream(3, "x"), 50, (3, 16, 16), kind)
    assert noise.shape == (50, 3, 16, 16)
    assert noise.dtype == np.float32
    assert np.sqrt((noise**2).mean()) == pytest.approx(1.0, abs=0.4)
    assert len({single.tobytes() for single in noise}) == 50


def test_one_pixel_cannot_be_smooth() -> None:
    with pytest.raises(ConfigError, match="at least two pixels"):
        smooth(stream(0, "x"), 1, (3, 1, 1), 1.0, 0.5)
