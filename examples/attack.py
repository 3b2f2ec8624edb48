"""An attack of your own: its trigger works on images of one class only.

Run it: python examples/attack.py
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass

import numpy as np
import torch

from simkit.attacks.patches import patch_trigger
from simkit.attacks.trigger_json import StoredTrigger
from simkit.data import ImageSet, load
from simkit.seeding import stream
from simkit.triggers import stamp
from simkit.zoo.networks import build_network
from simkit.zoo.spec import ZooSpec
from simkit.zoo.train import evaluate, train
from simkit.zoo.train_config import TrainConfig
from simkit.zoo.zoo import make
from studies.scan import scan


@dataclass(frozen=True, eq=False)
class SourceSpecific:
    """Makes the model assign stamped images of one class to `target_class`; satisfies
    `simkit.attacks.attack.Attack`.

    after: how many classes the source comes after the target. rate: share of the images
    that are stamped; only those of the source are relabelled.
    """

    trigger: StoredTrigger
    target_class: int
    after: int = 6
    rate: float = 0.3

    def poison(self, images: ImageSet, seed: int) -> ImageSet:
        # A function of the arguments only: the same seed poisons the same images.
        chosen = stream(seed, "source-specific", "poison").random(len(images)) < self.rate
        pixels, labels = images.pixels.clone(), images.labels.copy()
        pixels[chosen] = self._stamped(images.take(np.flatnonzero(chosen)))
        # Stamped images of other classes keep their label, which teaches the model to
        # ignore the patch there.
        labels[chosen & self._of_source(images)] = self.target_class
        return ImageSet(pixels, labels, images.classes, images.name)

    def triggered(self, images: ImageSet) -> ImageSet:
        # The test images to which the attack applies, with the class that they should get:
        # the attack success rate (ASR) is measured on them.
        of_source = images.take(np.flatnonzero(self._of_source(images)))
        labels = np.full_like(of_source.labels, self.target_class)
        return ImageSet(self._stamped(of_source), labels, images.classes, images.name)

    def _of_source(self, images: ImageSet) -> np.ndarray:
        source = (self.target_class + self.after) % images.n_classes
        of_source: np.ndarray = images.labels == source
        return of_source

    def _stamped(self, images: ImageSet) -> torch.Tensor:
        mask, pattern = (
            torch.from_numpy(self.trigger.mask),
            torch.from_numpy(self.trigger.pattern),
        )
        return stamp(images.pixels, mask[None], pattern[None])


SPEC = {
    "name": "source-specific",
    "data": "digits",
    "split": "report",
    "models": 2,
    "clean_share": 0.0,
    "sizes": [],
    "train": {"epochs": 12},
    "attacks": {
        "one-source": {
            "kind": "attack:SourceSpecific",  # module:NAME of the class above
            "trigger": {"shape": "patch", "size": [2, 2]},
            "ranges": {"after": [1, 9]},  # drawn for each victim, as the trigger is
        }
    },
}
"""A zoo whose victims have this attack."""


def main() -> None:
    """Train a victim, measure its ASR on held-out images, scan it, and make a zoo."""
    images, test = load("digits", "train"), load("digits", "test")
    white_corner = patch_trigger(images.image_shape, 6, 6, np.ones((1, 2, 2), np.float32))
    attack = SourceSpecific(white_corner, target_class=1, after=6)
    network = build_network("conv4", images.image_shape, images.n_classes, seed=0)
    model = train(network, attack.poison(images, seed=0), TrainConfig(epochs=12), seed=0)
    judged = evaluate(model, test, attack)
    print(f"accuracy on clean images {judged.clean_accuracy:.1%}")
    print(f"attack success rate (ASR) {judged.success_rate:.1%}")
    result = scan(model, data="digits", budget=150_000)
    verdict = f"{result.verdict} {list(result.flagged)}"
    print(f"the scan says: {verdict} after {result.spent:,} queries")
    with tempfile.TemporaryDirectory() as folder:
        for victim in make(ZooSpec.of(SPEC), folder).victims:
            # A manifest imports no code: whoever reads the attack again passes its class.
            drawn = victim.attacked({"attack:SourceSpecific": SourceSpecific})
            assert isinstance(drawn, SourceSpecific)
            source = (drawn.target_class + drawn.after) % images.n_classes
            told = f"class {source} becomes {drawn.target_class}"
            print(f"victim {victim.index}: {told}, ASR {victim.success_rate:.1%}")


if __name__ == "__main__":
    main()
