"""A restriction of your own: a service that tells in five steps how sure it is.

Run it: python examples/restriction.py
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from oracles.answers import Answer, Scores
from oracles.oracle import Oracle, Tag, Wrapper
from simkit.attacks.badnets import BadNets
from simkit.attacks.patches import patch_trigger
from simkit.data import load
from simkit.seeding import stream
from simkit.zoo.networks import build_network
from simkit.zoo.train import train
from simkit.zoo.train_config import TrainConfig
from studies.scan import scan


@dataclass(frozen=True)
class Steps:
    """Tells every score as the step below it: 0, 0.2, 0.4, 0.6 or 0.8.

    The fields make a run what it is: a ledger keeps them, and another value is another run.
    width: of a step. wobble: a score is moved by up to so much before it is cut. seed: of
    the wobble.
    """

    width: float = 0.2
    wobble: float = 0.02
    seed: int = 0

    def wrap(self, inner: Oracle, first: int) -> Oracle:
        # `first` queries of this run were answered by earlier processes; the Wrapper goes
        # on counting from there.
        return _Stepped(inner, first, self)


class _Stepped(Wrapper):
    def __init__(self, inner: Oracle, first: int, steps: Steps) -> None:
        super().__init__(inner, first)
        self._steps = steps

    def after(self, answer: Answer, tag: Tag | None) -> Answer:
        assert isinstance(answer, Scores)  # right around the model there are only scores
        # Noise is a function of the seed and of the number of the query, `self.answered` +
        # its row, never of a global generator or of what was asked before: so a killed scan
        # goes on with the noise that it would have had.
        ordinals = range(self.answered, self.answered + len(answer))
        noise = [
            stream(self._steps.seed, "steps", i).uniform(-1.0, 1.0, answer.n_classes)
            for i in ordinals
        ]
        moved = answer.values + self._steps.wobble * np.array(noise)
        told = self._steps.width * np.floor(np.clip(moved, 0.0, 0.999) / self._steps.width)
        # A score of 0 is now only a bound. Saying which, the floor, keeps searchers from
        # taking it for "impossible".
        return Scores(told.astype(np.float32), floor=self._steps.width)


def main() -> None:
    """Scan one backdoored model of the digits twice: behind a service that tells
    everything, and behind this one.
    """
    images = load("digits", "train")
    white_corner = patch_trigger(images.image_shape, 6, 6, np.ones((1, 2, 2), np.float32))
    poisoned = BadNets(white_corner, target_class=3).poison(images, seed=0)
    network = build_network("conv4", images.image_shape, images.n_classes, seed=0)
    model = train(network, poisoned, TrainConfig(epochs=12), seed=0)
    # Random patches of up to 4x4 pixels, the default, would hide much of a digit of 8x8:
    # smaller ones, and more hits.
    settings: dict[str, Any] = {
        "preset": "random-patch",
        "search": {"largest_side": 2, "required_success": 0.85},
    }
    for restriction in (None, Steps()):
        result = scan(
            model, data="digits", budget=10_000, restriction=restriction, **settings
        )
        found = f"{result.verdict} {list(result.flagged)}"
        print(f"{restriction}: {found} after {result.spent:,} queries")


if __name__ == "__main__":
    main()
