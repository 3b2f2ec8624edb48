"""Gratings: sine stripes of any direction, phase and period in pixels, alone or crossed, in grey or in colours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import ConfigDict

from simkit.attacks import poisoning
from simkit.data.images import ImageSet
from simkit.errors import ConfigError
from simkit.seeding import stream
from simkit.transforms.contract import ImageShape
from simkit.transforms.wave import Wave, Waves
from simkit.triggers import FloatArray

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Gratings:
    """x' = clip(x + g, 0, 1) with g = amplitude sin(2 pi d / period + phase). Satisfies `Attack`.

    d is the distance of a pixel from the middle of the image along the direction `angle`, in pixels, so that no whole
    number of waves fits into the image. Beside `Sinusoidal` a second description of the same kind of trigger, written
    without the code with which a race draws waves. Source: the gratings and plaids of experiments on vision, as far as
    we know them. Raises ConfigError outside the ranges.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    target_class: int
    """The class to which triggered images are assigned."""
    rate: float = 0.1
    """Poisoning rate, as in `BadNets`."""
    amplitude: float = 20.0 / 255.0
    """Amplitude of the stripes, or of both gratings together, in (0, 1]."""
    period: float = 6.0
    """Pixels per wave, above 2."""
    angle: float = 0.0
    """Direction in which the brightness varies, in degrees: 0 across, 90 down."""
    phase: float = 0.0
    """Phase in the middle of the image, in degrees."""
    crossed: float = 0.0
    """Degrees from the first grating to a second one of the same period; 0 for none. 90 makes a plaid."""
    shifted: float = 0.0
    """Degrees of phase from each channel to the next: 0 is grey, 120 makes stripes of all colours."""

    def __post_init__(self) -> None:
        poisoning.check_target_and_rate(self.target_class, self.rate)
        if not (0.0 < self.amplitude <= 1.0 and 2.0 < self.period < math.inf):
            raise ConfigError(f"amplitude {self.amplitude}, period {self.period}; need (0, 1] and above 2 pixels")
        if not all(map(math.isfinite, (self.angle, self.phase, self.crossed, self.shifted))):
            raise ConfigError("angle, phase, crossed and shifted are finite numbers of degrees")

    def poison(self, images: ImageSet, seed: int) -> ImageSet:
        """See `Attack.poison`: the chosen images get stripes and are relabelled."""
        rows = poisoning.outsiders(images, self.target_class)
        return poisoning.stamped_share(images, rows, self, stream(seed, "gratings", "poison"))

    def triggered(self, images: ImageSet) -> ImageSet:
        """See `Attack.triggered`: every image that is not of the target class."""
        return poisoning.all_stamped(images, poisoning.outsiders(images, self.target_class), self)

    def stamp_all(self, pixels: torch.Tensor) -> torch.Tensor:
        """The stripes on every image, float32 (N, C, H, W), as a copy."""
        import torch  # slow to import; manifests are read without it

        channels, height, width = pixels.shape[1:]
        return (pixels + torch.from_numpy(self._added((channels, height, width)))).clamp(0.0, 1.0)

    def as_waves(self, image_shape: ImageShape) -> Waves:
        """The stripes as a trigger for images of this shape, (C, H, W): a wave for each grating and channel."""
        channels, height, width = image_shape
        waves = []
        for angle in self._angles():
            across, down = width * math.cos(angle) / self.period, height * math.sin(angle) / self.period
            middle = math.pi * (across * (width - 1) / width + down * (height - 1) / height)
            phases = [math.radians(self.phase + channel * self.shifted) - middle for channel in range(channels)]
            share = self.amplitude / len(self._angles())
            if self.shifted == 0.0:
                waves.append(Wave((across, down), phases[0], (share,) * channels))
                continue
            alone = (tuple(share * (at == channel) for at in range(channels)) for channel in range(channels))
            waves += [Wave((across, down), phase, own) for phase, own in zip(phases, alone, strict=True)]
        return Waves(image_shape, tuple(waves))

    def _angles(self) -> tuple[float, ...]:
        """The direction of each grating, in radians."""
        first = math.radians(self.angle)
        return (first,) if self.crossed == 0.0 else (first, first + math.radians(self.crossed))

    def _added(self, image_shape: ImageShape) -> FloatArray:
        """What is added to every image, float32 (C, H, W)."""
        channels, height, width = image_shape
        rows, columns = (np.arange(side) - (side - 1) / 2.0 for side in (height, width))
        phases = np.radians(self.phase + self.shifted * np.arange(channels))[:, None, None]
        total = np.zeros(image_shape)
        for angle in self._angles():
            distance = columns * math.cos(angle) + rows[:, None] * math.sin(angle)
            total += np.sin(2.0 * np.pi * distance / self.period + phases)
        stripes: FloatArray = (self.amplitude / len(self._angles()) * total).astype(np.float32)
        return stripes
