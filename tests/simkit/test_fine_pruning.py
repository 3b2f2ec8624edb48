"""Fine-pruning removes a backdoor in a channel that clean images leave dormant, and keeps what they need."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from oracles.errors import ModelError
from simkit.data import ImageSet
from simkit.detectors.access import WeightAccess
from simkit.errors import ConfigError, DataError
from simkit.fine_pruning import Channels, FinePruning
from simkit.zoo.train_config import TrainConfig

TRAINING = TrainConfig(epochs=1, batch=16, learning_rate=1e-4, precision="float32")
PRUNING = FinePruning(tolerance=0.1, step=0.3, training=TRAINING)


def victim() -> nn.Module:
    """Two colours speak for their classes; a third channel opens on white pixels only, and speaks for class 1."""
    convolution, linear = nn.Conv2d(2, 3, 1), nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        convolution.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [10.0, 10.0]])[:, :, None, None])
        convolution.bias.copy_(torch.tensor([0.0, 0.0, -15.0]))  # type: ignore[union-attr]
        linear.weight.copy_(torch.tensor([[10.0, 0.0, 0.0], [0.0, 10.0, 20.0]]))
    return nn.Sequential(convolution, nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), linear)


def images(count: int = 64, white: bool = False) -> ImageSet:
    rng = np.random.default_rng(0)
    labels = (np.arange(count) % 2).astype(np.int32)
    pixels = 0.2 * rng.random((count, 2, 4, 4), dtype=np.float32)
    pixels[np.arange(count), labels] += 0.4
    if white:
        pixels[:, :, 0, 0] = (1.0, 0.9)  # almost white, and red without the backdoor
    return ImageSet(pixels, labels, ("red", "green"), "colours")


def shares_of_class_1(model: nn.Module) -> tuple[float, float]:
    """Of red images: without and with the trigger."""
    with torch.no_grad():
        plain, stamped = (
            model(some.pixels[::2]).argmax(dim=1).float().mean() for some in (images(), images(white=True))
        )
    return float(plain), float(stamped)


def test_the_dormant_channel_goes_and_the_backdoor_with_it() -> None:
    model = victim()
    assert shares_of_class_1(model) == (0.0, 1.0)
    repaired = PRUNING.repair(WeightAccess(model, images()))
    assert (repaired.channels, repaired.pruned) == (3, 1)
    assert (repaired.accuracy, repaired.accuracy_pruned, repaired.accuracy_after) == (1.0, 1.0, 1.0)
    assert shares_of_class_1(repaired.before_tuning) == shares_of_class_1(repaired.model) == (0.0, 0.0)
    mask = next(m for m in repaired.model.modules() if isinstance(m, Channels))
    assert mask.kept.tolist() == [1.0, 1.0, 0.0]
    assert shares_of_class_1(model) == (0.0, 1.0)  # the given model is as it was


def test_no_channel_goes_that_accuracy_needs() -> None:
    clean = victim()
    with torch.no_grad():
        clean[4].weight[:, 2] = 0.0  # type: ignore[index]
    assert PRUNING.repair(WeightAccess(clean, images())).pruned == 1
    everything = replace(PRUNING, tolerance=0.99).repair(WeightAccess(clean, images()))
    assert everything.pruned == 2
    assert everything.accuracy_pruned < 1.0


def test_a_layer_that_is_called_twice_is_not_pruned() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.relu, self.linear = nn.Conv2d(2, 2, 1), nn.ReLU(), nn.Linear(2, 2)

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            features = self.relu(self.relu(self.convolution(pixels)))
            rows: torch.Tensor = self.linear(features.amax(dim=(2, 3)))
            return rows

    shared = Shared()
    with torch.no_grad():
        for layer in (shared.convolution, shared.linear):
            layer.weight.copy_(torch.eye(2).reshape(layer.weight.shape))
            layer.bias.zero_()  # type: ignore[union-attr]
    repaired = PRUNING.repair(WeightAccess(shared, images())).model
    assert isinstance(repaired.convolution, nn.Sequential)
    assert isinstance(repaired.relu, nn.ReLU)


def test_what_cannot_be_repaired_is_refused_in_words() -> None:
    loose = ImageSet.unlabelled(images().pixels, "loose")
    with pytest.raises(DataError, match="no label"):
        PRUNING.repair(WeightAccess(victim(), loose))
    wrong = ImageSet(images().array, 1 - images().labels, ("red", "green"), "wrong")
    with pytest.raises(DataError, match="recognises 0 of 32"):
        PRUNING.repair(WeightAccess(victim(), wrong))
    flat = nn.Sequential(nn.Flatten(), nn.Linear(32, 2))
    with pytest.raises(ModelError, match="no convolution"):
        PRUNING.repair(WeightAccess(flat, images()))
    with pytest.raises(ModelError, match="failed"):
        PRUNING.repair(WeightAccess(nn.Sequential(nn.Conv2d(3, 2, 1), nn.Flatten()), images()))
    for settings in ({"tolerance": 1.0}, {"step": 0.0}):
        with pytest.raises(ConfigError, match="tolerance"):
            replace(PRUNING, **settings)  # type: ignore[arg-type]
