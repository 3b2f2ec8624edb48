"""Several backdoors in one model, of any kind and for any classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simkit.attacks.attack import Attack
from simkit.attacks.own_calls import poisoned as poisoned_by
from simkit.attacks.own_calls import triggered as triggered_by
from simkit.data.images import ImageSet
from simkit.errors import ConfigError, DataError
from simkit.seeding import subseed


@dataclass(frozen=True, eq=False)
class Several:
    """Applies attacks one after another, each to images that no earlier one changed. Satisfies `Attack`.

    Raises ConfigError unless there are two attacks or more.
    """

    attacks: tuple[Attack, ...]
    """The attacks, two or more; the rate of each is a share of the images that the earlier ones left unchanged."""

    def __post_init__(self) -> None:
        if len(self.attacks) < 2:
            raise ConfigError(
                f"several backdoors are two or more, not {len(self.attacks)}; use a single attack directly"
            )

    def poison(self, images: ImageSet, seed: int) -> ImageSet:
        """See `Attack.poison`. Raises DataError if no unchanged image is left for one of the attacks."""
        import torch  # slow to import; manifests are read without it

        poisoned = images
        for number, attack in enumerate(self.attacks):
            left = np.flatnonzero(~_changed(images, poisoned))
            part = poisoned_by(attack, poisoned.take(left), subseed(seed, "several", number))
            if len(part) != len(left):
                raise DataError(f"{images.name}: attack {number} of several returned {len(part)} of {len(left)} images")
            pixels, labels = poisoned.pixels.clone(), poisoned.labels.copy()
            pixels[torch.from_numpy(left)], labels[left] = part.pixels, part.labels
            poisoned = ImageSet(pixels, labels, images.classes, images.name)
        return poisoned

    def triggered(self, images: ImageSet) -> ImageSet:
        """The test images of each attack in turn; an image to which several apply occurs several times.

        The ASR on all of them is a mean that can hide a failed backdoor, so evaluate each of `attacks` as well.
        """
        import torch  # slow to import; manifests are read without it

        parts = [triggered_by(attack, images) for attack in self.attacks]
        pixels, labels = torch.cat([p.pixels for p in parts]), np.concatenate([p.labels for p in parts])
        return ImageSet(pixels, labels, images.classes, images.name)


def parts_of(attack: Attack) -> tuple[Attack, ...]:
    """The attacks of `Several`, or the attack itself."""
    return attack.attacks if isinstance(attack, Several) else (attack,)


def _changed(before: ImageSet, after: ImageSet) -> NDArray[np.bool_]:
    """Which images differ in a pixel or in their label; bool (N,)."""
    pixels = (before.pixels != after.pixels).flatten(1).any(1).numpy()
    return np.asarray(pixels | (before.labels != after.labels))
