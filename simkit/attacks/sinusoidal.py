"""SIG: vertical sine stripes on images of the target class, which keep their labels (Barni et al., 2019)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pydantic import ConfigDict

from simkit.attacks import poisoning
from simkit.data.images import ImageSet
from simkit.errors import ConfigError
from simkit.seeding import stream
from simkit.transforms.contract import ImageShape
from simkit.transforms.wave import Wave, Waves

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Sinusoidal:
    """x' = clip(x + amplitude sin(2 pi frequency column / width), 0, 1), the same in every row. Satisfies `Attack`.

    Raises ConfigError outside the ranges. The formula, 20/255 and 6 are those of
    SCLBD/BackdoorBench:utils/bd_img_transform/sig.py, which also fades the image to 0.2; we do not, following the
    paper's formula as we recall it. Simplified: one amplitude for training and test.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    target_class: int
    """The class to which triggered images are assigned."""
    rate: float = 0.5
    """Poisoning rate in (0, 1]: share of the images that may be poisoned, at least one image."""
    amplitude: float = 20.0 / 255.0
    """Amplitude of the wave, in (0, 1]."""
    frequency: float = 6.0
    """Waves per image width; above half the number of columns the stripes vanish."""
    clean_label: bool = True
    """Poison images of the target class, without relabelling (as in the paper); otherwise relabel images of others."""

    def __post_init__(self) -> None:
        poisoning.check_target_and_rate(self.target_class, self.rate)
        if not (0.0 < self.amplitude <= 1.0 and 0.0 < self.frequency < math.inf):
            raise ConfigError(f"amplitude {self.amplitude}, frequency {self.frequency}; need (0, 1] and above 0")

    def poison(self, images: ImageSet, seed: int) -> ImageSet:
        """See `Attack.poison`: the chosen images get stripes, and are relabelled unless `clean_label`."""
        rows_of = poisoning.members if self.clean_label else poisoning.outsiders
        rows = rows_of(images, self.target_class)
        return poisoning.stamped_share(images, rows, self, stream(seed, "sinusoidal", "poison"))

    def triggered(self, images: ImageSet) -> ImageSet:
        """See `Attack.triggered`: every image that is not of the target class."""
        return poisoning.all_stamped(images, poisoning.outsiders(images, self.target_class), self)

    def as_waves(self, image_shape: ImageShape) -> Waves:
        """The stripes as a trigger for images of this shape, (C, H, W)."""
        return Waves(image_shape, (Wave((self.frequency, 0.0), 0.0, (self.amplitude,) * image_shape[0]),))

    def stamp_all(self, pixels: torch.Tensor) -> torch.Tensor:
        """The stripes on every image, float32 (N, C, H, W), as a copy. Raises ConfigError if the waves are too fine."""
        import torch  # slow to import; manifests are read without it

        width = pixels.shape[-1]
        if 2.0 * self.frequency >= width:
            raise ConfigError(f"{self.frequency:g} waves do not show in {width} columns; need fewer than {width / 2:g}")
        columns = torch.arange(width, dtype=torch.float64)
        wave = self.amplitude * torch.sin(2.0 * torch.pi * self.frequency * columns / width)
        return (pixels + wave.float()).clamp(0.0, 1.0)
