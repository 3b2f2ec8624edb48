"""How the generator of an input-aware backdoor is built, and how it is trained with its victim."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import nn

from simkit.attacks.attack import Answering, Attack

_EPSILON = 0.01
"""Added to the distance of two triggers, so that equal ones give no infinite gradient."""


class Settings(Protocol):
    """What a lesson reads of its attack, see `InputAware`, and whom it gives what it learned."""

    @property
    def target_class(self) -> int: ...

    @property
    def rate(self) -> float: ...

    @property
    def density(self) -> float: ...

    @property
    def density_weight(self) -> float: ...

    @property
    def diversity_weight(self) -> float: ...

    @property
    def learning_rate(self) -> float: ...

    @property
    def width(self) -> int: ...

    def taught(self, weights: np.ndarray) -> Attack:
        """The attack with the weights of its generator, any floats (n,)."""
        ...


class Generator(nn.Module):
    """Images (N, C, H, W) in [0, 1] to masks (N, 1, H, W) and patterns (N, C, H, W), both in [0, 1].

    Two convolutions that halve the image, one between, and two that double it again.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        sizes = (
            (channels, width),
            (width, 2 * width),
            (2 * width, 2 * width),
            (2 * width, width),
            (width, channels + 1),
        )
        self.layers = nn.ModuleList(nn.Conv2d(before, after, 3, padding=1) for before, after in sizes)

    @property
    def size(self) -> int:
        """The number of its weights."""
        return sum(parameter.numel() for parameter in self.parameters())

    def load(self, weights: torch.Tensor) -> None:
        """Take all weights from a row of `size` numbers, in the order of `parameters_to_vector`."""
        with torch.no_grad():
            nn.utils.vector_to_parameters(weights, self.parameters())

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        down_1, down_2, middle, up_1, up_2 = self.layers
        half = torch.relu(down_1(nn.functional.avg_pool2d(2.0 * images - 1.0, 2, ceil_mode=True)))
        quarter = torch.relu(down_2(nn.functional.avg_pool2d(half, 2, ceil_mode=True)))
        quarter = torch.relu(middle(quarter))
        half = torch.relu(up_1(nn.functional.interpolate(quarter, half.shape[2:]))) + half
        made = torch.tanh(up_2(nn.functional.interpolate(half, images.shape[2:]))) / 2.0 + 0.5
        masks = torch.sigmoid(40.0 * made[:, :1] - 20.0)  # as the authors': nearly 0 or 1
        return masks, made[:, 1:]


class InputAwareLesson:
    """Trains a new generator beside a victim. Satisfies `simkit.attacks.attack.Lesson`."""

    def __init__(self, attack: Settings, channels: int, seed: int, device: str) -> None:
        self._attack = attack
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._generator = Generator(channels, attack.width)
        self._generator.to(device)
        self._optimiser = torch.optim.Adam(self._generator.parameters(), attack.learning_rate, betas=(0.5, 0.9))

    def loss(self, answer: Answering, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Cross entropy of attacked, crossed and clean images, and what keeps triggers small and different.

        The first images get their own triggers and the target class, as many next ones the triggers of the first and
        keep their label.
        """
        attack = self._attack
        many = min(max(1, round(attack.rate * len(images))), len(images) // 2)
        first, second = images[:many], images[many : 2 * many]
        masks, patterns = self._generator(images[: 2 * many])
        attacked, crossed = (torch.lerp(on, patterns[:many], masks[:many]) for on in (first, second))
        targets = torch.full_like(labels[:many], attack.target_class)
        logits = answer(torch.cat([attacked, crossed, images[2 * many :]]))
        wrong = nn.functional.cross_entropy(logits, torch.cat([targets, labels[many:]]))
        triggers = torch.cat([masks, masks * patterns], dim=1)
        alike = _distance(first, second) / (_distance(triggers[:many], triggers[many:]) + _EPSILON)
        large = torch.relu(masks.flatten(1).mean(dim=1) - attack.density).mean()
        return wrong + attack.diversity_weight * alike.mean() + attack.density_weight * large

    def step(self) -> None:
        """See `Lesson.step`."""
        self._optimiser.step()
        self._optimiser.zero_grad()

    def learned(self) -> Attack:
        """See `Lesson.learned`. Raises ConfigError if the weights are not finite."""
        weights = nn.utils.parameters_to_vector(self._generator.parameters())
        return self._attack.taught(weights.detach().cpu().numpy())


def _distance(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """The root mean square of the difference of each pair, (N,)."""
    return ((first - second).square().flatten(1).mean(dim=1) + 1e-12).sqrt()
