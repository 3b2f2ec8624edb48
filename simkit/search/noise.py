"""Random images: of independent pixels, or smooth as pictures of things are, whose amplitudes fall with frequency."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from simkit.errors import ConfigError
from simkit.triggers import FloatArray

Kind: TypeAlias = Literal["white", "smooth"]
Range: TypeAlias = tuple[float, float]

# Chosen on tune victims: with every picture's own exponent, colours and contrast, a thousand of them had answers of all
# ten classes; white noise had answers of two or three.
EXPONENTS: Range = (0.5, 2.0)
"""Of a smooth image: amplitude ~ frequency ** -exponent; pictures of things have about 1."""
SHARED: Range = (0.3, 0.95)
"""How far the channels of a smooth image agree: 0 not at all, 1 it is grey."""
CONTRASTS: Range = (0.15, 0.35)
"""Standard deviation of a smooth image, around 0.5, before it is clipped."""
STEP_EXPONENT, STEP_SHARED = 1.5, 0.7
"""The same of smooth steps from one image to the next."""


def random_image(rng: np.random.Generator, image_shape: tuple[int, int, int], kind: Kind) -> FloatArray:
    """One image, float32 (C, H, W) in [0, 1]: uniform where it is white, else as natural as noise can be."""
    if kind == "white":
        return rng.random(image_shape, dtype=np.float32)
    exponent, shared, contrast = (rng.uniform(*bounds) for bounds in (EXPONENTS, SHARED, CONTRASTS))
    image: FloatArray = np.clip(0.5 + contrast * smooth(rng, 1, image_shape, exponent, shared)[0], 0.0, 1.0)
    return image.astype(np.float32)


def directions(rng: np.random.Generator, count: int, image_shape: tuple[int, int, int], kind: Kind) -> FloatArray:
    """Noise to step along, float32 (count, C, H, W), of RMS about 1."""
    if kind == "white":
        return rng.standard_normal((count, *image_shape), dtype=np.float32)
    return smooth(rng, count, image_shape, STEP_EXPONENT, STEP_SHARED)


def smooth(
    rng: np.random.Generator, count: int, image_shape: tuple[int, int, int], exponent: float, shared: float
) -> FloatArray:
    """Gaussian fields, float32 (count, C, H, W), each of standard deviation 1 and amplitude ~ frequency ** -exponent.

    shared: in [0, 1], the correlation of two channels' square root: 1 makes them equal. The mean of a field is random
    too. Raises ConfigError on one pixel, which has no standard deviation.
    """
    channels, height, width = image_shape
    if height * width < 2:
        raise ConfigError(f"smooth noise of {height}x{width} pixels; it needs two or more")
    own = _filtered(rng.standard_normal((count, channels, height, width)), exponent)
    common = _filtered(rng.standard_normal((count, 1, height, width)), exponent)
    fields = shared * common + np.sqrt(1.0 - shared**2) * own
    scaled: FloatArray = (fields / fields.std(axis=(1, 2, 3), keepdims=True)).astype(np.float32)
    return scaled


def _filtered(white: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    height, width = white.shape[-2:]
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = 1.0 / max(height, width)  # of the mean, as of the slowest wave
    filtered: NDArray[np.float64] = np.fft.irfft2(np.fft.rfft2(white) * frequency**-exponent, s=(height, width))
    return filtered
