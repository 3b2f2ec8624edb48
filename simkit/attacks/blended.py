"""Blended: a pattern blended faintly into the whole image or a part of it (Chen et al., 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import ConfigDict

from simkit.attacks import poisoning
from simkit.attacks.poisoning import Rows
from simkit.attacks.trigger_json import StoredTrigger
from simkit.data.images import ImageSet
from simkit.errors import ConfigError
from simkit.seeding import stream
from simkit.transforms.blend import Blend, Layer
from simkit.triggers import Trigger

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Blended:
    """x' = (1 - alpha m) x + alpha m p on a share of the images, relabelled as the target class. Satisfies `Attack`.

    Raises ConfigError outside the ranges. Simplified: one alpha for training and test, and a random or given pattern
    instead of a picture.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    trigger: StoredTrigger
    """The blended pattern; a `random_patch` of the size of the image is noise."""
    target_class: int
    """The class to which triggered images are assigned."""
    rate: float = 0.1
    """Poisoning rate, as in `BadNets`."""
    alpha: float = 0.2  # as in SCLBD/BackdoorBench:config/attack/blended/default.yaml
    """Opacity of the pattern, in (0, 1]."""

    def __post_init__(self) -> None:
        poisoning.check_target_and_rate(self.target_class, self.rate)
        if not 0.0 < self.alpha <= 1.0:
            raise ConfigError(f"alpha {self.alpha} is outside (0, 1]; 1 covers the image, 0 leaves it as it was")

    @property
    def blend(self) -> Trigger:
        """The soft trigger that is put on images: its mask is alpha times the mask of `trigger`."""
        return Trigger((self.alpha * self.trigger.mask).astype("float32"), self.trigger.pattern)

    @property
    def seen(self) -> Trigger | Blend:
        """The trigger as pictures show it: a blend where the pattern covers the whole image, in 256 levels."""
        if self.alpha == 1.0 or not (self.trigger.mask == 1.0).all():
            return self.blend
        cells = np.rint(np.clip(self.trigger.pattern, 0.0, 1.0) * 255.0).astype(np.uint8)
        channels, height, width = cells.shape
        return Blend((channels, height, width), (Layer(self.alpha, 1, cells),))

    def poison(self, images: ImageSet, seed: int) -> ImageSet:
        """See `Attack.poison`: the chosen images are blended and relabelled."""
        return poisoning.stamped_share(images, self._others(images), self, stream(seed, "blended", "poison"))

    def triggered(self, images: ImageSet) -> ImageSet:
        """See `Attack.triggered`: every image that is not of the target class."""
        return poisoning.all_stamped(images, self._others(images), self)

    def stamp_all(self, pixels: torch.Tensor) -> torch.Tensor:
        """The blend on every image, float32 (N, C, H, W), as a copy."""
        return poisoning.stamp_trigger(self.blend, pixels)

    def _others(self, images: ImageSet) -> Rows:
        poisoning.check_trigger_fits(images, self.trigger)
        return poisoning.outsiders(images, self.target_class)
