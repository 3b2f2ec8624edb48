"""A detector of your own: it asks about images that are partly covered.

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
from simkit.attacks.badnets import BadNets, patch_trigger
from simkit.data import load
from simkit.detectors.access import QueryDataAccess
from simkit.triggers import stamp
from simkit.verdict import ClassResult, Verdict
from simkit.zoo.networks import build_network
from simkit.zoo.train import TrainConfig, train
from studies.detect import detect


@dataclass(frozen=True)
class Occlusion:
    """Covers each place of the images with a white square: does one place turn all of them
    into one class?

    Satisfies `Detector[QueryDataAccess]`: it needs queries and clean images. Were it handed
    a `WeightAccess`, a type checker would refuse it. side: of the square, in pixels.
    images: each is tried on. required: share of the images of other classes that must turn.
    """

    side: int = 2
    images: int = 24
    required: float = 0.9

    def detect(self, access: QueryDataAccess) -> Verdict:
        best: dict[int, ClassResult] = {}
        _, height, width = access.oracle.image_shape
        try:
            for row in range(height - self.side + 1):
                for col in range(width - self.side + 1):
                    self._try(access, row, col, best)
        except BudgetExhausted:
            # An outcome, no failure: a budget is a part of the question.
            return self._verdict("budget", best)
        return self._verdict("converged", best)

    def _try(
        self, access: QueryDataAccess, row: int, col: int, best: dict[int, ClassResult]
    ) -> None:
        images = access.images.take(range(self.images))
        channels = images.image_shape[0]
        square = patch_trigger(
            images.image_shape,
            row,
            col,
            np.ones((channels, self.side, self.side), np.float32),
        )
        mask, pattern = torch.from_numpy(square.mask), torch.from_numpy(square.pattern)
        # The answer may be scores, the k best, or a label alone: `top_label` reads all
        # three.
        labels = top_label(
            access.oracle.query(stamp(images.pixels, mask[None], pattern[None]))
        )
        for target in range(access.oracle.n_classes):
            others = images.labels != target
            rate = float((labels[others] == target).mean())
            # Each class comes with its best trigger, so that whoever reads the ledger can
            # try it.
            found = ClassResult(
                target,
                square,
                square.mask_size,
                rate,
                rate < self.required,
                int(others.sum()),
            )
            best[target] = max(
                best.get(target, found),
                found,
                key=lambda result: result.success_rate or 0.0,
            )

    def _verdict(self, stopped: str, best: dict[int, ClassResult]) -> Verdict:
        classes = tuple(best.values())
        flagged = tuple(c.target_class for c in classes if not c.censored)
        score = max((c.success_rate or 0.0 for c in classes), default=None)
        if flagged:
            return Verdict("backdoored", "decided", flagged, score, classes, None)
        if stopped == "budget":
            return Verdict("undecided", "budget", (), score, classes, None)
        return Verdict("clean", "converged", (), score, classes, None)


def main() -> None:
    """Try it on a clean and a backdoored model of the digits behind labels alone, and look
    at what it asked.
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
        # Nobody told the ledger why these queries were sent, so they are `external`; they
        # are counted all the same.
        for run, purpose, charged in sqlite3.connect(db).execute(
            "SELECT run, purpose, charged FROM spend"
        ):
            print(f"run {run}: {charged:,} {purpose} queries")


if __name__ == "__main__":
    main()
