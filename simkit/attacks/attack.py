"""What an attack is: one object that poisons training images and triggers test images."""

from __future__ import annotations

from typing import Protocol

from simkit.data.images import ImageSet


class Attack(Protocol):
    """A backdoor, as its maker knows it; nothing on the side of the searchers ever sees one."""

    def poison(self, images: ImageSet, seed: int) -> ImageSet:
        """A copy of training images with the attack's share of them changed, a function of the arguments alone.

        Labels change only where the attack needs it: an image may be changed and keep its own. Raises DataError if the
        images do not fit or have no labels.
        """
        ...

    def triggered(self, images: ImageSet) -> ImageSet:
        """Those of the test images that the attack is for, triggered, each labelled with the class it should become.

        An attack on one target class leaves out images of that class, one from a source class all but that one's; of
        several attacks each gives its own, so that an image may come more than once.
        Raises DataError if no image is left.
        """
        ...
