"""Input-aware backdoor: a generator, trained with the victim, makes a trigger for each image (Nguyen & Tran, 2020).

https://arxiv.org/abs/2010.08138; the loss follows the authors' train.py and networks/models.py
(github.com/VinAIResearch/input-aware-backdoor-attack-release, commit 1e1f977). Simplified: one generator of some
thousand weights makes pattern and mask, and both are trained with the victim, where the authors train a larger one for
the mask alone beforehand; what may not be large is the mean of a mask and not each pixel, without which masks vanish
when they are trained beside the victim; and the trigger that must not work on another image is that of a poisoned one.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import ConfigDict

from simkit.attacks import poisoning
from simkit.attacks.poisoning import Rows
from simkit.data.images import ImageSet
from simkit.errors import ConfigError, DataError
from simkit.seeding import stream

if TYPE_CHECKING:
    import torch

    from simkit.attacks.input_aware_lesson import InputAwareLesson

_CHUNK = 256
"""Images stamped at a time."""


@dataclass(frozen=True, eq=False)
class InputAware:
    """x' = x + m(x) (p(x) - x), with mask m and pattern p made by a generator. Satisfies `Attack` and `Teachable`.

    The trigger of one image does nothing on another. Raises ConfigError outside the ranges.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    target_class: int
    """The class to which triggered images are assigned."""
    rate: float = 0.1
    """Share of each batch that gets its own trigger and the target class, in (0, 0.5]; as many images get the trigger
    of another image and keep their label."""
    density: float = 0.032
    """Share of the image, in [0, 1], that a mask may cover at no cost."""
    density_weight: float = 100.0
    """Weight of masks beyond the density."""
    diversity_weight: float = 1.0
    """Weight of the triggers of two images being alike."""
    learning_rate: float = 0.01
    """Of Adam, which trains the generator."""
    width: int = 8
    """Channels of the generator, from 1 to 32."""
    generator: str = ""
    """The trained weights, float16, as base64; empty before the attack has been trained with a victim."""

    def __post_init__(self) -> None:
        poisoning.check_target_and_rate(self.target_class, self.rate)
        if not (self.rate <= 0.5 and 0.0 <= self.density <= 1.0 and 1 <= self.width <= 32):
            raise ConfigError(
                f"rate {self.rate}, density {self.density}, width {self.width}; need at most 0.5, [0, 1] and 1 to 32"
            )
        weights = self.density_weight, self.diversity_weight
        if not (all(0.0 <= weight < math.inf for weight in weights) and 0.0 < self.learning_rate < math.inf):
            raise ConfigError("density_weight, diversity_weight and learning_rate must be finite, the last one above 0")
        self._weights()

    def lesson(self, images: ImageSet, seed: int, device: str) -> InputAwareLesson:
        """See `Teachable.lesson`: the generator is drawn from `seed` and trained from there."""
        from simkit.attacks.input_aware_lesson import InputAwareLesson

        poisoning.outsiders(images, self.target_class)
        return InputAwareLesson(self, images.image_shape[0], seed, device)

    def poison(self, images: ImageSet, seed: int) -> ImageSet:
        """See `Attack.poison`. Raises ConfigError before the attack has been trained with a victim."""
        rows = poisoning.outsiders(images, self.target_class)
        return poisoning.stamped_share(images, rows, self, stream(seed, "input-aware", "poison"))

    def triggered(self, images: ImageSet) -> ImageSet:
        """See `Attack.triggered`: every image that is not of the target class. Raises ConfigError as `poison`."""
        return poisoning.all_stamped(images, poisoning.outsiders(images, self.target_class), self)

    def crossed(self, images: ImageSet) -> ImageSet:
        """Every image that is not of the target class, with the trigger of the next one and its own label.

        A victim that still sees the true class did not learn a single trigger for all images.
        """
        import torch  # slow to import; manifests are read without it

        rows: Rows = poisoning.outsiders(images, self.target_class)
        chosen = images.take(rows)
        masks, patterns = self._triggers(torch.roll(chosen.pixels, -1, dims=0))
        pixels = torch.lerp(chosen.pixels, patterns, masks).clamp(0.0, 1.0)
        return ImageSet(pixels, chosen.labels, images.classes, images.name)

    def stamp_all(self, pixels: torch.Tensor) -> torch.Tensor:
        """Each image with its own trigger, float32 (N, C, H, W), as a copy. Raises ConfigError as `poison`."""
        import torch  # slow to import; manifests are read without it

        masks, patterns = self._triggers(pixels)
        return torch.lerp(pixels, patterns, masks).clamp(0.0, 1.0)

    def taught(self, weights: np.ndarray) -> InputAware:
        """The same attack with these weights of its generator, any floats (n,), rounded to float16."""
        return dataclasses.replace(self, generator=base64.b64encode(weights.astype("<f2").tobytes()).decode())

    def _triggers(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Masks (N, 1, H, W) and patterns (N, C, H, W), both in [0, 1]."""
        import torch  # slow to import; manifests are read without it

        from simkit.attacks.input_aware_lesson import Generator

        weights = self._weights()
        if len(weights) == 0:
            raise ConfigError("an input-aware trigger is learned with its victim; use implant of simkit.zoo.train")
        generator = Generator(pixels.shape[1], self.width)
        if len(weights) != generator.size:
            raise DataError(
                f"images of {pixels.shape[1]} channels do not fit the generator of this attack: they and width "
                f"{self.width} need {generator.size:,} weights, and it has {len(weights):,}"
            )
        generator.load(torch.from_numpy(weights.astype(np.float32)))
        generator.double()  # so that the images beside it do not change the last bits of a trigger
        with torch.no_grad():
            made = [generator(part.double()) for part in torch.split(pixels, _CHUNK)]
        masks, patterns = (torch.cat(parts).to(pixels.dtype) for parts in zip(*made, strict=True))
        return masks, patterns

    def _weights(self) -> np.ndarray:
        """The weights, float16 (n,), empty before training. Raises ConfigError if the text holds no finite ones."""
        try:
            weights = np.frombuffer(base64.b64decode(self.generator, validate=True), "<f2")
        except (binascii.Error, ValueError) as error:
            raise ConfigError(f"generator is no base64 of float16 numbers: {error}") from error
        if not np.isfinite(weights).all():
            raise ConfigError("generator has weights that are not finite; train with a lower learning_rate")
        return weights
