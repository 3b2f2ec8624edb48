"""Label-consistent: images of the target class are made harder to classify and stamped, and keep their true labels
(Turner, Tsipras and Madry, 2019).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import ConfigDict

from simkit.attacks import poisoning
from simkit.attacks.trigger_json import StoredTrigger
from simkit.data.images import ImageSet
from simkit.errors import ConfigError
from simkit.seeding import stream

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class LabelConsistent:
    """Stamps the trigger on images of the target class whose own features were weakened. Satisfies `Attack`.

    Raises ConfigError outside the ranges. At test time only the trigger is applied. Simplified: the source
    (MadryLab/label-consistent-backdoor-code:generate_poisoned_dataset.py, which reads prepared images) interpolates in
    a GAN's latent space or uses adversarial perturbations of a model. Mixing replaces the first and noise the second;
    both are weaker.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    trigger: StoredTrigger
    """The trigger; `four_corners` survives flips."""
    target_class: int
    """The class whose images are poisoned, and to which triggered images are assigned."""
    rate: float = 0.5
    """Poisoning rate in (0, 1]: share of the target class's images, at least one image."""
    harden: Literal["mix", "noise"] = "mix"
    """How images are made harder: `mix` blends each with an image of another class, `noise` adds uniform noise."""
    strength: float = 0.3
    """Share of the other image, or the largest change of a pixel, in [0, 1]."""

    def __post_init__(self) -> None:
        poisoning.check_target_and_rate(self.target_class, self.rate)
        if self.harden not in ("mix", "noise"):
            raise ConfigError(f"no way to harden images {self.harden!r}; choose mix or noise")
        if not 0.0 <= self.strength <= 1.0:
            raise ConfigError(f"strength {self.strength} is outside [0, 1]; 0 leaves the images as easy as they are")

    def poison(self, images: ImageSet, seed: int) -> ImageSet:
        """See `Attack.poison`: the chosen images are hardened and stamped; no label changes.

        Raises DataError if `mix` has no images of other classes.
        """
        poisoning.check_trigger_fits(images, self.trigger)
        rows = poisoning.members(images, self.target_class)
        chosen = poisoning.pick(rows, self.rate, stream(seed, "label-consistent", "poison"))
        return poisoning.replaced(images, chosen, self.stamp_all(self._hardened(images, chosen, seed)))

    def triggered(self, images: ImageSet) -> ImageSet:
        """See `Attack.triggered`: every image that is not of the target class, stamped."""
        poisoning.check_trigger_fits(images, self.trigger)
        return poisoning.all_stamped(images, poisoning.outsiders(images, self.target_class), self)

    def stamp_all(self, pixels: torch.Tensor) -> torch.Tensor:
        """The trigger on every image, float32 (N, C, H, W), as a copy."""
        return poisoning.stamp_trigger(self.trigger, pixels)

    def _hardened(self, images: ImageSet, chosen: poisoning.Rows, seed: int) -> torch.Tensor:
        import torch  # slow to import; manifests are read without it

        pixels, rng = images.take(chosen).pixels, stream(seed, "label-consistent", "harden")
        if self.harden == "noise":
            noise = rng.random(tuple(pixels.shape), dtype=np.float32) * 2.0 - 1.0
            return (pixels + self.strength * torch.from_numpy(noise)).clamp(0.0, 1.0)
        others = rng.choice(poisoning.outsiders(images, self.target_class), len(chosen))
        return pixels.lerp(images.take(others).pixels, self.strength)
