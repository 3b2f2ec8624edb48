"""Attacks of ART, the Adversarial Robustness Toolbox, on any oracle."""

from __future__ import annotations

from typing import Any

from oracles.adapters.asked import Asked
from oracles.errors import ModelError


def art_classifier(asked: Asked) -> Any:
    """A `BlackBoxClassifierNeuralNetwork` that asks through `asked`; its outputs are probabilities.

    Run its attacks in `asked.run`. Raises ModelError if ART (adversarial-robustness-toolbox) is not installed.
    """
    try:
        from art.estimators.classification import BlackBoxClassifierNeuralNetwork
    except ImportError as error:
        raise ModelError(f"ART cannot be imported ({error}); install adversarial-robustness-toolbox") from None
    oracle = asked.oracle
    return BlackBoxClassifierNeuralNetwork(asked.scores, oracle.image_shape, oracle.n_classes, clip_values=(0.0, 1.0))
