"""Random images: independent pixels, or smooth noise whose amplitude falls with frequency as in natural images."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from simkit.errors import ConfigError
from simkit.triggers import FloatArray

Kind: TypeAlias = Literal["white", "smooth"]
Range: TypeAlias = tuple[float, float]

# Chosen on tune victims: a thousand images, each with its own exponent, colours and contrast, were assigned to all ten
# classes; white noise was assigned to two or three.
EXPONENTS: Range = (0.5, 2.0)
"""Range of the exponent of a smooth image: amplitude ~ frequency ** -exponent; natural images have about 1."""
SHARED: Range = (0.3, 0.95)
"""Range of how much the channels of a smooth image agree: 0 not at all, 1 completely (a grey image)."""
CONTRASTS: Range = (0.15, 0.35)
"""Range of the standard deviation of a smooth image around 0.5, before clipping."""
STEP_EXPONENT, STEP_SHARED = 1.5, 0.7
"""Exponent and agreement of the channels of smooth steps from one image to the next."""


def random_image(rng: np.random.Generator, image_shape: tuple[int, int, int], kind: Kind) -> FloatArray:
    """One image, float32 (C, H, W) in [0, 1]: uniform white noise, or smooth noise like a natural image."""
    if kind == "white":
        return rng.random(image_shape, dtype=np.float32)
    exponent, shared, contrast = (rng.uniform(*bounds) for bounds in (EXPONENTS, SHARED, CONTRASTS))
    image: FloatArray = np.clip(0.5 + contrast * smooth(rng, 1, image_shape, exponent, shared)[0], 0.0, 1.0)
    return image.astype(np.float32)


def directions(rng: np.random.Generator, count: int, image_shape: tuple[int, int, int], kind: Kind) -> FloatArray:
    """Noise as search directions, float32 (count, C, H, W), with an RMS of about 1."""
    if kind == "white":
        return rng.standard_normal((count, *image_shape), dtype=np.float32)
    return smooth(rng, count, image_shape, STEP_EXPONENT, STEP_SHARED)


def smooth(
    rng: np.random.Generator, count: int, image_shape: tuple[int, int, int], exponent: float, shared: float
) -> FloatArray:
    """Gaussian fields, float32 (count, C, H, W), each of standard deviation 1 and amplitude ~ frequency ** -exponent.

    shared: in [0, 1], the square root of the correlation of two channels; 1 makes them equal. The mean of a field is
    random as well. Raises ConfigError on a single pixel, which has no standard deviation.
    """
    channels, height, width = image_shape
    if height * width < 2:
        raise ConfigError(f"smooth noise of {height}x{width} pixels; it needs at least two pixels")
    own = _filtered(rng.standard_normal((count, channels, height, width)), exponent)
    common = _filtered(rng.standard_normal((count, 1, height, width)), exponent)
    fields = shared * common + np.sqrt(1.0 - shared**2) * own
    scaled: FloatArray = (fields / fields.std(axis=(1, 2, 3), keepdims=True)).astype(np.float32)
    return scaled


def _filtered(white: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    height, width = white.shape[-2:]
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = 1.0 / max(height, width)  # the mean is treated like the lowest frequency
    filtered: NDArray[np.float64] = np.fft.irfft2(np.fft.rfft2(white) * frequency**-exponent, s=(height, width))
    return filtered
