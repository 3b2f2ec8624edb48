"""An attack of your own: its trigger works on images of one class only.

Run it: python examples/attack.py
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from simkit.attacks.patches import patch_trigger
from simkit.data import ImageSet, load
from simkit.seeding import stream
from simkit.triggers import Trigger, stamp
from simkit.zoo.networks import build_network
from simkit.zoo.train import evaluate, train
from simkit.zoo.train_config import TrainConfig
from studies.scan import scan


@dataclass(frozen=True, eq=False)
class SourceSpecific:
    """Makes the model assign stamped images of `source` to `target`; satisfies
    `simkit.attacks.attack.Attack`.

    rate: share of the images that are stamped; only those of the source are relabelled.
    """

    trigger: Trigger
    source: int
    target: int
    rate: float = 0.3

    def poison(self, images: ImageSet, seed: int) -> ImageSet:
        # A function of the arguments only: the same seed poisons the same images.
        chosen = stream(seed, "source-specific", "poison").random(len(images)) < self.rate
        pixels, labels = images.pixels.clone(), images.labels.copy()
        pixels[chosen] = self._stamped(images.take(np.flatnonzero(chosen)))
        # Stamped images of other classes keep their label, which teaches the model to
        # ignore the patch there.
        labels[chosen & (images.labels == self.source)] = self.target
        return ImageSet(pixels, labels, images.classes, images.name)

    def triggered(self, images: ImageSet) -> ImageSet:
        # The test images to which the attack applies, with the class that they should get:
        # the attack success rate (ASR) is measured on them.
        of_source = images.take(np.flatnonzero(images.labels == self.source))
        labels = np.full_like(of_source.labels, self.target)
        return ImageSet(self._stamped(of_source), labels, images.classes, images.name)

    def _stamped(self, images: ImageSet) -> torch.Tensor:
        mask, pattern = (
            torch.from_numpy(self.trigger.mask),
            torch.from_numpy(self.trigger.pattern),
        )
        return stamp(images.pixels, mask[None], pattern[None])


def main() -> None:
    """Train a victim, measure its ASR on held-out images, and scan it."""
    images, test = load("digits", "train"), load("digits", "test")
    white_corner = patch_trigger(images.image_shape, 6, 6, np.ones((1, 2, 2), np.float32))
    attack = SourceSpecific(white_corner, source=7, target=1)
    network = build_network("conv4", images.image_shape, images.n_classes, seed=0)
    model = train(network, attack.poison(images, seed=0), TrainConfig(epochs=12), seed=0)
    judged = evaluate(model, test, attack)
    print(f"accuracy on clean images {judged.clean_accuracy:.1%}")
    print(f"attack success rate (ASR) {judged.success_rate:.1%}")
    result = scan(model, data="digits", budget=150_000)
    verdict = f"{result.verdict} {list(result.flagged)}"
    print(f"the scan says: {verdict} after {result.spent:,} queries")


if __name__ == "__main__":
    main()
