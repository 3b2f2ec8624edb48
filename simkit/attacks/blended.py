"""Blended: a pattern mixed into the whole image, or into a part of it, faintly (Chen et al., 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pydantic import ConfigDict

from simkit.attacks import poisoning
from simkit.attacks.poisoning import Rows
from simkit.attacks.trigger_json import StoredTrigger
from simkit.data.images import ImageSet
from simkit.errors import ConfigError
from simkit.seeding import stream
from simkit.triggers import Trigger

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Blended:
    """x' = (1 - alpha m) x + alpha m p on a share of the images, called `target_class`. Satisfies `Attack`.

    trigger: what is blended in; `random_patch` as large as the image is noise. alpha: in (0, 1]; 0.2 is BackdoorBench's
    (SCLBD/BackdoorBench:config/attack/blended/default.yaml). rate: as of `BadNets`. Raises ConfigError outside the
    ranges. Simplified: one alpha in training and at test time, and a pattern drawn at random or given, not a picture.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    trigger: StoredTrigger
    target_class: int
    rate: float = 0.1
    alpha: float = 0.2

    def __post_init__(self) -> None:
        poisoning.check_target_and_rate(self.target_class, self.rate)
        if not 0.0 < self.alpha <= 1.0:
            raise ConfigError(f"alpha {self.alpha} is outside (0, 1]; 1 covers the image, 0 leaves it as it was")

    @property
    def blend(self) -> Trigger:
        """The soft trigger that is put on images: its mask is alpha where `trigger`'s is 1."""
        return Trigger((self.alpha * self.trigger.mask).astype("float32"), self.trigger.pattern)

    def poison(self, images: ImageSet, seed: int) -> ImageSet:
        """See `Attack.poison`: the chosen images are blended and relabelled."""
        chosen = poisoning.pick(self._others(images), self.rate, stream(seed, "blended", "poison"))
        return poisoning.replaced(images, chosen, self.stamp_all(images.take(chosen).pixels), self.target_class)

    def triggered(self, images: ImageSet) -> ImageSet:
        """See `Attack.triggered`: every image that is not of the target class."""
        others = images.take(self._others(images))
        return poisoning.relabelled(others, self.stamp_all(others.pixels), self.target_class)

    def stamp_all(self, pixels: torch.Tensor) -> torch.Tensor:
        """The blend on every image, float32 (N, C, H, W), as a copy."""
        return poisoning.stamp_trigger(self.blend, pixels)

    def _others(self, images: ImageSet) -> Rows:
        poisoning.check_trigger_fits(images, self.trigger)
        return poisoning.outsiders(images, self.target_class)
