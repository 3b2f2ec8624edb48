"""A detector of your own: it queries images that are partly covered.

Run it: python examples/detector.py
"""

from __future__ import annotations

import sqlite3
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from oracles.answers import top_label
from oracles.errors import BudgetExhausted
from simkit.attacks.badnets import BadNets
from simkit.attacks.patches import patch_trigger
from simkit.data import ImageSet, load
from simkit.detectors.access import QueryDataAccess
from simkit.triggers import IntArray, Trigger, stamp
from simkit.verdict import ClassResult, Kind, Stopped, Verdict, is_chance
from simkit.zoo.networks import build_network
from simkit.zoo.train import train
from simkit.zoo.train_config import TrainConfig
from studies.scan import detect


@dataclass(frozen=True)
class Occlusion:
    """Covers each position of the images with a white square, and flags a class if one
    position turns all images into it.

    Satisfies `Detector[QueryDataAccess]`: it needs queries and clean images. A type checker
    rejects it with a `WeightAccess`.
    """

    side: int = 2
    """Side of the square, in pixels."""
    images: int = 24
    """Images on which each square is tried."""
    required: float = 0.9
    """Share of the images of other classes that must turn into the class."""

    def detect(self, access: QueryDataAccess) -> Verdict:
        images, best = access.images.take(range(self.images)), dict[int, ClassResult]()
        try:
            # The answer may be scores, top-k or label-only: `top_label` reads all three.
            seen = top_label(access.oracle.query(images.pixels))
            correct = int((seen == images.labels).sum())
            if is_chance(correct, len(images), images.n_classes):
                why = "clean accuracy is at chance; is the input scaled?"
                return Verdict("invalid", "decided", (), None, (), None, why)
            for place in np.ndindex(*(n - self.side + 1 for n in images.image_shape[1:])):
                square = self._square(access, place)
                self._note(best, square, self._labels(access, images, square), images)
        except BudgetExhausted:
            # Not a failure: the verdict uses the evidence so far.
            return self._verdict("budget", best)
        return self._verdict("converged", best)

    def _square(self, access: QueryDataAccess, place: tuple[int, ...]) -> Trigger:
        channels = access.oracle.image_shape[0]
        white = np.ones((channels, self.side, self.side), np.float32)
        return patch_trigger(access.oracle.image_shape, place[0], place[1], white)

    def _labels(
        self, access: QueryDataAccess, images: ImageSet, square: Trigger
    ) -> IntArray:
        mask, pattern = torch.from_numpy(square.mask), torch.from_numpy(square.pattern)
        stamped = stamp(images.pixels, mask[None], pattern[None])
        return top_label(access.oracle.query(stamped))

    def _note(
        self,
        best: dict[int, ClassResult],
        square: Trigger,
        labels: IntArray,
        images: ImageSet,
    ) -> None:
        for target in range(images.n_classes):
            others = images.labels != target
            rate, size = float((labels[others] == target).mean()), square.mask_size
            # With the trigger, so that readers of the ledger can try it. censored: no
            # trigger worked, so the class is not flagged.
            censored, trials = rate < self.required, int(others.sum())
            result = ClassResult(target, square, size, rate, censored, trials)
            if target not in best or rate > (best[target].success_rate or 0.0):
                best[target] = result

    def _verdict(self, stopped: Stopped, best: dict[int, ClassResult]) -> Verdict:
        classes = tuple(best.values())
        flagged = tuple(c.target_class for c in classes if not c.censored)
        score = max((c.success_rate or 0.0 for c in classes), default=None)
        if flagged:
            return Verdict("backdoored", "decided", flagged, score, classes, None)
        kind: Kind = "undecided" if stopped == "budget" else "clean"
        return Verdict(kind, stopped, (), score, classes, None)


def main() -> None:
    """Try it on a clean and a backdoored model of the digits behind a label-only service,
    and print its queries.
    """
    images = load("digits", "train")
    white_corner = patch_trigger(images.image_shape, 6, 6, np.ones((1, 2, 2), np.float32))
    poisoned = BadNets(white_corner, target_class=3).poison(images, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        db = Path(folder) / "detect.db"
        for name, training in (("clean", images), ("backdoored", poisoned)):
            network = build_network("conv4", images.image_shape, images.n_classes, seed=0)
            model = train(network, training, TrainConfig(epochs=12), seed=0)
            result = detect(
                Occlusion(), model, data="digits", oracle="label", budget=5_000, db=db
            )
            print(
                f"{name}: {result.verdict} {list(result.flagged)}, score {result.score:.2f}"
            )
        # These queries were sent without a purpose, so they are `external` in the ledger;
        # they are charged all the same.
        for run, purpose, charged in sqlite3.connect(db).execute(
            "SELECT run, purpose, charged FROM spend"
        ):
            print(f"run {run}: {charged:,} {purpose} queries")


if __name__ == "__main__":
    main()
