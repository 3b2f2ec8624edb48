"""The protocol of an attack: one object that poisons training images and puts the trigger on test images."""

from __future__ import annotations

from typing import Protocol

from simkit.data.images import ImageSet


class Attack(Protocol):
    """A backdoor as the attacker knows it; searches and detectors never see it."""

    def poison(self, images: ImageSet, seed: int) -> ImageSet:
        """A copy of the training images of which a share is poisoned, as a function of the arguments only.

        Labels change only if the attack needs it: a poisoned image may keep its label. Raises DataError if the images
        do not fit or have no labels.
        """
        ...

    def triggered(self, images: ImageSet) -> ImageSet:
        """The test images to which the attack applies, with the trigger, each labelled with its target class.

        Images of the target class are left out, and a source-specific attack only takes images of its source classes.
        Several attacks return the images of each, so that an image may occur more than once. Raises DataError if no
        image is left.
        """
        ...
