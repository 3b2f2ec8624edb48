"""A restriction of your own: a service whose scores have only five values.

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
    """Rounds every score down to a step: 0, 0.2, 0.4, 0.6 or 0.8.

    The fields are part of a run's identity: a ledger stores them, and another value starts
    another run.
    """

    width: float = 0.2
    """Width of a step."""
    wobble: float = 0.02
    """Largest random change of a score before it is rounded."""
    seed: int = 0
    """Seed of these changes."""

    def wrap(self, inner: Oracle, first: int) -> Oracle:
        # `first` queries of this run were answered by earlier processes; the Wrapper
        # continues to count from there.
        return _Stepped(inner, first, self)


class _Stepped(Wrapper):
    def __init__(self, inner: Oracle, first: int, steps: Steps) -> None:
        super().__init__(inner, first)
        self._steps = steps

    def after(self, answer: Answer, tag: Tag | None) -> Answer:
        assert isinstance(answer, Scores)  # directly around the model there are only scores
        # Noise is a function of the seed and of the number of the query, `self.answered` +
        # its row, and not of a global generator or of earlier queries. A resumed scan
        # therefore gets the noise that an uninterrupted one would have had.
        ordinals = range(self.answered, self.answered + len(answer))
        noise = [
            stream(self._steps.seed, "steps", i).uniform(-1.0, 1.0, answer.n_classes)
            for i in ordinals
        ]
        moved = answer.values + self._steps.wobble * np.array(noise)
        steps = self._steps.width * np.floor(np.clip(moved, 0.0, 0.999) / self._steps.width)
        # A score of 0 only means "below the first step". The floor says so; otherwise a
        # search would take it for a probability of 0.
        return Scores(steps.astype(np.float32), floor=self._steps.width)


def main() -> None:
    """Scan one backdoored model of the digits twice: behind a service with exact scores,
    and behind this one.
    """
    images = load("digits", "train")
    white_corner = patch_trigger(images.image_shape, 6, 6, np.ones((1, 2, 2), np.float32))
    poisoned = BadNets(white_corner, target_class=3).poison(images, seed=0)
    network = build_network("conv4", images.image_shape, images.n_classes, seed=0)
    model = train(network, poisoned, TrainConfig(epochs=12), seed=0)
    # Random patches of up to 4x4 pixels, the default, would hide much of a digit of 8x8
    # pixels, so smaller patches must succeed more often.
    settings: dict[str, Any] = {
        "preset": "random-patch",
        "search": {"largest_side": 2, "required_success": 0.85},
    }
    for restriction in (None, Steps()):
        result = scan(
            model, data="digits", budget=10_000, restriction=restriction, **settings
        )
        verdict = f"{result.verdict} {list(result.flagged)}"
        print(f"{restriction}: {verdict} after {result.spent:,} queries")


if __name__ == "__main__":
    main()
