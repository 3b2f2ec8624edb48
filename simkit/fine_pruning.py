"""Fine-pruning (Liu et al., 2018, arXiv 1805.12185): repairs a model with clean images, without looking for a trigger.

We have read implementations, not the paper. Channels of the last convolution that clean images hardly activate are set
to zero, in order of their mean activation (kangliucn/Fine-pruning-defense, face/conv_output_prune.py, which averages
the pooled output over images and positions), until clean accuracy falls by a tenth of what it was; then the model is
trained on the clean images, with the batch, learning rate, momentum and weight decay of BackdoorBench (defense/fp.py,
config/defense/fp/config.yaml) and the ten epochs of TrojanZoo (attack_agnostic/fine_pruning.py; BackdoorBench: 100).
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from oracles.errors import ModelError
from simkit.data import ImageSet
from simkit.detectors.access import WeightAccess, check_access
from simkit.detectors.whitebox.white_model import private_copy, rows_of
from simkit.errors import ConfigError, DataError
from simkit.search.images import halves
from simkit.verdict import is_chance
from simkit.zoo.train import evaluate, train
from simkit.zoo.train_config import TrainConfig

_BLOCK = 250
"""Images per pass."""


class Channels(nn.Module):
    """Multiplies each channel of (N, C, H, W) by 1, or by 0 where it is pruned."""

    kept: torch.Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("kept", torch.ones(channels))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features * self.kept[:, None, None]


@dataclass(frozen=True, eq=False)
class Repaired:
    """A repaired model, in eval mode, and what the repair cost.

    before_tuning: the model with pruned channels, not yet trained. channels, pruned: of the last convolution. accuracy:
    of the given model; accuracy_pruned, accuracy_after: of `before_tuning` and `model`; all on clean images that were
    not trained on.
    """

    model: nn.Module
    before_tuning: nn.Module
    channels: int
    pruned: int
    accuracy: float
    accuracy_pruned: float
    accuracy_after: float


@dataclass(frozen=True)
class FinePruning:
    """How a model is repaired. Raises ConfigError outside the ranges."""

    tolerance: float = 0.1
    """Channels are pruned while clean accuracy falls by no more than this share of itself; in [0, 1)."""
    step: float = 1 / 32
    """Share of the channels that is pruned at a time, in (0, 1] (ours)."""
    training: TrainConfig = field(
        default_factory=lambda: TrainConfig(epochs=10, batch=256, learning_rate=0.01, precision="float32")
    )
    """How the pruned model is trained; the learning rate follows the cycle of the zoo's training."""
    seed: int = 0
    """Seed of the training."""

    def __post_init__(self) -> None:
        if not (0.0 <= self.tolerance < 1.0 and 0.0 < self.step <= 1.0):
            raise ConfigError("tolerance must be in [0, 1), step in (0, 1]")

    def repair(self, access: WeightAccess) -> Repaired:
        """A repaired copy of the model; the given one is not changed.

        The first half of the images is watched and trained on, the second half measures accuracy. Raises DataError for
        images without labels or that the model does not recognise; ModelError for a model without convolutions that
        torch can watch.
        """
        check_access(access, WeightAccess)
        images = access.images
        if not images.labelled:
            raise DataError(f"{images.name}: some images have no label; fine-pruning trains on labels, give all")
        split = halves(images)
        model, channels, order = _watched(access.model, split.search)
        accuracy = _accuracy(model, split.verify)
        pruned, accuracy_pruned = self._prune(model, channels, order, split.verify, accuracy)
        tuned = train(model, split.search, self.training, self.seed)
        after = _accuracy(tuned, split.verify)
        return Repaired(tuned, model, len(order), pruned, accuracy, accuracy_pruned, after)

    def _prune(
        self, model: nn.Module, channels: Channels, order: torch.Tensor, images: ImageSet, accuracy: float
    ) -> tuple[int, float]:
        """Prune in place; the number of channels that are pruned in the end, and the accuracy then."""
        step = math.ceil(self.step * len(order))
        pruned, reached = 0, accuracy
        for count in range(step, len(order), step):
            channels.kept[order[:count]] = 0.0
            now = _accuracy(model, images)
            if now < (1.0 - self.tolerance) * accuracy:
                channels.kept[order[pruned:count]] = 1.0
                break
            pruned, reached = count, now
        return pruned, reached


def _accuracy(model: nn.Module, images: ImageSet) -> float:
    return evaluate(model, images).clean_accuracy


def _watched(model: nn.Module, images: ImageSet) -> tuple[nn.Module, Channels, torch.Tensor]:
    """A copy whose last convolution can be pruned, what prunes it, and its channels from dormant to active."""
    private = private_copy(model).cpu()
    calls = _calls(private, images.pixels[:1])
    once = Counter(name for name, _ in calls)
    last = next(((name, size) for name, size in reversed(calls) if once[name] == 1), None)
    if last is None:
        raise ModelError("the model has no convolution that torch can watch; give a torch module that has one")
    name, channels = last[0], Channels(last[1])
    parent, _, child = name.rpartition(".")
    layer = private.get_submodule(name)
    setattr(private.get_submodule(parent), child, nn.Sequential(layer, channels))
    return private, channels, _mean_activations(private, layer, images).argsort(stable=True)


def _calls(model: nn.Module, pixels: torch.Tensor) -> list[tuple[str, int]]:
    """The layers that returned (N, C, H, W), in the order of their calls, each with C."""
    calls: list[tuple[str, int]] = []

    def watch(name: str) -> Any:
        def seen(_layer: nn.Module, _inputs: object, output: object) -> None:
            if isinstance(output, torch.Tensor) and output.ndim == 4:
                calls.append((name, output.shape[1]))

        return seen

    leaves = [(name, layer) for name, layer in model.named_modules() if name and not list(layer.children())]
    handles = [layer.register_forward_hook(watch(name)) for name, layer in leaves]
    convolutions = any(isinstance(layer, nn.Conv2d) for _, layer in leaves)
    _run(model, pixels)
    for handle in handles:
        handle.remove()
    return calls if convolutions else []


def _mean_activations(model: nn.Module, layer: nn.Module, images: ImageSet) -> torch.Tensor:
    """The mean over images and positions of each channel that the layer returns, (C,)."""
    sums: list[torch.Tensor] = []
    handle = layer.register_forward_hook(lambda _l, _i, output: sums.append(output.mean(dim=(2, 3)).sum(dim=0)))
    answers = torch.cat([_run(model, block) for block in torch.split(images.pixels, _BLOCK)]).argmax(dim=1)
    handle.remove()
    correct = int((answers == torch.from_numpy(images.labels)).sum())
    if is_chance(correct, len(images), images.n_classes):
        raise DataError(f"{images.name}: the model recognises {correct} of {len(images)}; check labels and input scale")
    return torch.stack(sums).sum(dim=0) / len(images)


def _run(model: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return rows_of(model, pixels)
