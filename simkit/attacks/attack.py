"""The protocols of attacks: one object that poisons training images, or learns its trigger together with a victim."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

from simkit.data.images import ImageSet

if TYPE_CHECKING:
    import torch

Answering: TypeAlias = "Callable[[torch.Tensor], torch.Tensor]"
"""The victim in training: images (N, C, H, W) to logits float32 (N, n_classes), with gradients."""


class Attack(Protocol):
    """A backdoor as the attacker knows it; searches and detectors never see it."""

    def poison(self, images: ImageSet, seed: int) -> ImageSet:
        """A copy of the training images of which a share is poisoned, as a function of the arguments only.

        `images` stay as they are, since all victims of a zoo share them. Labels change only if the attack needs it: a
        poisoned image may keep its label. Raises DataError if the images do not fit or have no labels.
        """
        ...

    def triggered(self, images: ImageSet) -> ImageSet:
        """The test images to which the attack applies, with the trigger, each labelled with its target class.

        Images of the target class are left out, and a source-specific attack only takes images of its source classes.
        Several attacks return the images of each, so that an image may occur more than once. `images` stay as they are.
        Raises DataError if no image is left.
        """
        ...


class Lesson(Protocol):
    """One training of a victim in which an attack learns its trigger."""

    def loss(self, answer: Answering, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The loss of a step, of which the victim and the trigger follow the gradient.

        images: a batch (N, C, H, W), N of 2 or more. labels: int64 (N,).
        """
        ...

    def step(self) -> None:
        """Change the trigger along the gradient of the last loss; called once the victim has changed."""
        ...

    def learned(self) -> Attack:
        """The attack with the trigger as it is now."""
        ...


@runtime_checkable
class Teachable(Protocol):
    """An attack that trains its trigger together with the victim, which sees unpoisoned training images."""

    def lesson(self, images: ImageSet, seed: int, device: str) -> Lesson:
        """A new lesson for a victim of these training images, as a function of the arguments only.

        Raises DataError if the images do not fit.
        """
        ...
