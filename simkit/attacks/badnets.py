"""BadNets: a patch on a share of the training images, relabelled as the target class (Gu et al., 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pydantic import ConfigDict

from simkit.attacks import poisoning
from simkit.attacks.poisoning import Rows
from simkit.attacks.trigger_json import StoredTrigger
from simkit.data.images import ImageSet
from simkit.seeding import stream

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class BadNets:
    """Stamps a trigger on a share of the images and relabels them as the target class. Satisfies `Attack`.

    Raises ConfigError outside the ranges.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    trigger: StoredTrigger
    """The trigger, of any shape and size, see `simkit.attacks.patches`."""
    target_class: int
    """The class to which triggered images are assigned."""
    rate: float = 0.1
    """Poisoning rate in (0, 1]: share of the images of other classes, at least one image."""

    def __post_init__(self) -> None:
        poisoning.check_target_and_rate(self.target_class, self.rate)

    def poison(self, images: ImageSet, seed: int) -> ImageSet:
        """A copy of `images` in which the chosen images, at least one, are stamped and relabelled.

        Raises DataError if the images have another shape, lack the target class, or all belong to it.
        """
        return poisoning.stamped_share(images, self._others(images), self, stream(seed, "badnets", "poison"))

    def triggered(self, images: ImageSet) -> ImageSet:
        """See `Attack.triggered`: every image that is not of the target class, stamped and relabelled."""
        return poisoning.all_stamped(images, self._others(images), self)

    def stamp_all(self, pixels: torch.Tensor) -> torch.Tensor:
        """The trigger on every image, float32 (N, C, H, W), as a copy."""
        return poisoning.stamp_trigger(self.trigger, pixels)

    def _others(self, images: ImageSet) -> Rows:
        poisoning.check_trigger_fits(images, self.trigger)
        return poisoning.outsiders(images, self.target_class)
