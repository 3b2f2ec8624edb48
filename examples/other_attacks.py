"""Attacks of another library on a metered oracle: what they reach before the budget ends.

Run it: python examples/other_attacks.py (needs adversarial-robustness-toolbox).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch

from oracles.adapters.art import art_classifier
from oracles.adapters.asked import Asked
from oracles.answers import top_label
from oracles.budget import Budget
from oracles.spec import OracleSpec, build
from oracles.torch_model import TorchOracle
from simkit.data import load
from simkit.zoo.networks import build_network
from simkit.zoo.train import train
from simkit.zoo.train_config import TrainConfig

ATTACKS: dict[str, tuple[OracleSpec, dict[str, Any]]] = {
    "HopSkipJump": (OracleSpec(label_only=True), {"max_iter": 50}),
    "SignOPTAttack": (OracleSpec(label_only=True), {"targeted": False, "max_iter": 50}),
    "SimBA": (OracleSpec(), {"attack": "px", "epsilon": 0.2}),
}
"""What the service answers, and options of the attack."""


def main() -> None:
    """Attack one picture of the digits with a budget of 1,000 queries for each attack."""
    from art.attacks import evasion

    images = load("digits", "train")
    network = build_network("conv4", images.image_shape, images.n_classes, seed=0)
    model = train(network, images, TrainConfig(epochs=12), seed=0)
    oracle = TorchOracle(model, images.image_shape, n_classes=images.n_classes)
    start = images.pixels[:1]
    label = top_label(oracle.query(start))
    for name, (spec, options) in ATTACKS.items():
        np.random.seed(0)  # these attacks draw from the global generator
        budget = Budget(1_000)
        asked = Asked(build(spec, oracle, budget), start.numpy(), label)
        attack = getattr(evasion, name)(art_classifier(asked), verbose=False, **options)
        found = asked.run(partial(attack.generate, start.numpy()))
        # The picture is the best that the oracle answered, also if the budget ended first.
        again = top_label(oracle.query(torch.from_numpy(found.images)))
        print(
            f"{name}: {found.queries} queries ({budget.spent} charged), {found.stopped}; "
            f"class {label[0]} became {again[0]} at a distance of {found.distances[0]:.2f}"
        )


if __name__ == "__main__":
    main()
