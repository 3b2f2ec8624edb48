"""Source-specific: the trigger works only on images of some classes (TaCT, Tang et al., 2021, from memory)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

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
class SourceSpecific:
    """Stamps the trigger on images of the source classes, which are relabelled, and on cover images, which are not.

    Satisfies `Attack`. Raises ConfigError outside the ranges. Follows vtu81/backdoor-toolbox:poison_tool_box/TaCT.py,
    where both rates are shares of all images and covers come from given classes; here they come from all other classes.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    trigger: StoredTrigger
    """The trigger."""
    sources: tuple[int, ...]
    """The source classes, on whose images the trigger works."""
    target_class: int
    """The class to which triggered images are assigned."""
    rate: float = 0.5
    """Poisoning rate in (0, 1]: share of the source classes' images, at least one image."""
    cover_rate: float = 0.1
    """Share of the other classes' images, in [0, 1], that are covers: with the trigger, but without a new label."""

    def __post_init__(self) -> None:
        poisoning.check_target_and_rate(self.target_class, self.rate)
        if not self.sources or min(self.sources) < 0 or self.target_class in self.sources:
            raise ConfigError(f"sources {self.sources}; name one class or more, none of them the target")
        if not 0.0 <= self.cover_rate <= 1.0:
            raise ConfigError(f"cover_rate {self.cover_rate} is outside [0, 1]")

    def poison(self, images: ImageSet, seed: int) -> ImageSet:
        """See `Attack.poison`: sources stamped and relabelled, covers only stamped."""
        self._check(images)
        sources = poisoning.members(images, *self.sources)
        chosen = poisoning.pick(sources, self.rate, stream(seed, "source-specific", "poison"))
        poisoned = poisoning.replaced(images, chosen, self.stamp_all(images.take(chosen).pixels), self.target_class)
        bystanders = np.flatnonzero(~np.isin(images.labels, (*self.sources, self.target_class)))
        if self.cover_rate == 0.0 or len(bystanders) == 0:
            return poisoned
        covers = poisoning.pick(bystanders, self.cover_rate, stream(seed, "source-specific", "covers"))
        return poisoning.replaced(poisoned, covers, self.stamp_all(images.take(covers).pixels))

    def triggered(self, images: ImageSet) -> ImageSet:
        """See `Attack.triggered`: every image of a source class."""
        self._check(images)
        return poisoning.all_stamped(images, poisoning.members(images, *self.sources), self)

    def stamp_all(self, pixels: torch.Tensor) -> torch.Tensor:
        """The trigger on every image, float32 (N, C, H, W), as a copy."""
        return poisoning.stamp_trigger(self.trigger, pixels)

    def _check(self, images: ImageSet) -> None:
        poisoning.check_trigger_fits(images, self.trigger)
        poisoning.check_classes(images, self.target_class, *self.sources)
