"""A searcher of your own: successive halving of many squares.

Run it: python examples/searcher.py
Or give it to the command, from this folder:
simkit scan model.pt2 --data digits --budget 5000 --preset searcher:HALVING
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass

import numpy as np

from simkit.attacks.badnets import BadNets
from simkit.attacks.patches import patch_trigger
from simkit.data import load
from simkit.search.contract import AskTell, Evidence, Proposal, Search, Task
from simkit.search.driver import DriverConfig
from simkit.search.presets import Preset
from simkit.seeding import stream
from simkit.triggers import Trigger, Triggers
from simkit.verdict import ClassResult
from simkit.zoo.networks import build_network
from simkit.zoo.train import train
from simkit.zoo.train_config import TrainConfig
from studies.scan import scan


@dataclass(frozen=True)
class HalvingConfig:
    """The settings: a frozen dataclass of plain values, which are part of the run's key."""

    squares: int = 256
    """Candidates at the start."""
    side: int = 2
    """Largest side of a square, in pixels."""
    images: int = 2
    """Images per candidate in the first round, doubled in every further round."""
    rounds: int = 5
    """Rounds, each of which drops half of the candidates."""
    required_success: float = 0.9
    """Success rate that a square must reach to count as a trigger."""

    def search(self, task: Task, seed: int) -> Search:
        return Halving(self, task, seed)


class Halving:
    """Satisfies `simkit.search.contract.Search`. It knows the shape and the classes of the
    images, but never sees a pixel.
    """

    def __init__(self, config: HalvingConfig, task: Task, seed: int) -> None:
        self._config, self._task, self._seed = config, task, seed
        self._guard = AskTell(
            task.n_classes, len(task.image_classes)
        )  # checks order and shapes for us
        self._triggers = Triggers.of([self._square(i) for i in range(config.squares)])
        self._hits, self._trials = np.zeros((2, config.squares, task.n_classes))
        self._alive = np.arange(config.squares)
        self._rounds = 0
        self._asked = np.empty(0, np.int64)

    @property
    def rounds(self) -> int:
        return self._rounds

    def ask(self) -> Proposal | None:
        if self._rounds >= self._config.rounds:
            return None  # converged: now the rule decides, and unseen images confirm
        # Every draw is a function of (seed, purpose, step), so that an interrupted search
        # can be resumed from its stored answers.
        rng = stream(self._seed, "halving", self._rounds)
        count = min(self._config.images * 2**self._rounds, len(self._task.image_classes))
        images = rng.choice(len(self._task.image_classes), count, replace=False)
        self._asked = np.repeat(self._alive, count)
        pairs = np.column_stack([self._asked, np.tile(images, len(self._alive))]).astype(
            np.int32
        )
        return self._guard.asked(Proposal(self._triggers, pairs))

    def tell(self, evidence: Evidence) -> None:
        self._guard.told(evidence)
        # One answer is evidence about all classes; `valid` leaves out images that belong
        # to the class already.
        np.add.at(self._hits, self._asked, evidence.hit & evidence.valid)
        np.add.at(self._trials, self._asked, evidence.valid)
        best_class = self._rates()[self._alive].max(axis=1)
        better = np.argsort(-best_class, kind="stable")[: max(1, len(self._alive) // 2)]
        self._alive = np.sort(self._alive[better])
        self._rounds += 1

    def results(self) -> tuple[ClassResult, ...]:
        return tuple(self._best(c) for c in range(self._task.n_classes))

    def state(self) -> str:
        # The ledger stores this for every step. The checksum lets a resumed scan detect
        # that the search has changed.
        return json.dumps(
            {"alive": len(self._alive), "digest": zlib.crc32(self._hits.tobytes())}
        )

    def _best(self, target: int) -> ClassResult:
        rates = self._rates()[:, target]
        i = int(rates.argmax())
        tried = bool(self._trials[i, target])
        censored = not (
            tried and rates[i] >= self._config.required_success
        )  # no trigger worked, so the class is not flagged
        trigger = self._triggers[i]
        return ClassResult(
            target, trigger, trigger.mask_size, float(rates[i]) if tried else None, censored
        )

    def _rates(self) -> np.ndarray:
        return (self._hits + 0.5) / (
            self._trials + 1
        )  # shrunk, so that a single hit does not count as certain

    def _square(self, i: int) -> Trigger:
        rng = stream(self._seed, "square", i)
        channels, height, width = self._task.image_shape
        side = int(rng.integers(1, self._config.side + 1))
        row, col = rng.integers(height - side + 1), rng.integers(width - side + 1)
        colours = np.full(
            (channels, side, side), rng.integers(2), np.float32
        )  # black or white
        return patch_trigger(self._task.image_shape, int(row), int(col), colours)


HALVING = Preset(
    HalvingConfig(), rule="small_patch", driver=DriverConfig(first_look=5, look_every=1)
)


def main() -> None:
    """Scan a clean and a backdoored model of the digits with it."""
    images = load("digits", "train")
    white_corner = patch_trigger(images.image_shape, 6, 6, np.ones((1, 2, 2), np.float32))
    poisoned = BadNets(white_corner, target_class=3).poison(images, seed=0)
    for name, training in (("clean", images), ("backdoored", poisoned)):
        network = build_network("conv4", images.image_shape, images.n_classes, seed=0)
        model = train(network, training, TrainConfig(epochs=12), seed=0)
        result = scan(model, data="digits", budget=10_000, preset=HALVING)
        verdict = f"{result.verdict} {list(result.flagged)}"
        print(f"{name}: {verdict} after {result.spent:,} queries")


if __name__ == "__main__":
    main()
