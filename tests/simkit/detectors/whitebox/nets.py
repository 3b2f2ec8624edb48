"""A planted victim with gradients: the one of `tests.fakes`, smooth and in torch."""

from __future__ import annotations

import torch
from torch import nn

from oracles.oracle import ImageShape
from tests.fakes import Plant, templates

SHAPE: ImageShape = (1, 12, 12)


class PlantedNet(nn.Module):
    """Logits of template correlations; a plant adds to its target a steep sigmoid of how well the pixels match."""

    def __init__(self, plant: Plant | None = None, n_classes: int = 4) -> None:
        super().__init__()
        self.templates = nn.Parameter(torch.from_numpy(templates(n_classes, SHAPE)).flatten(1))
        self._plant = plant

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        seen = torch.tanh(4.0 * (images - 0.5)).flatten(1)
        logits = 60.0 * seen @ self.templates.T / seen.shape[1]
        if self._plant is None:
            return logits
        mask, pattern = (torch.from_numpy(p) for p in (self._plant.trigger.mask, self._plant.trigger.pattern))
        match = 1.0 - ((images - pattern).abs() * mask).sum(dim=(1, 2, 3)) / mask.sum()
        target = torch.arange(logits.shape[1]) == self._plant.target_class
        return logits + 20.0 * torch.sigmoid(10.0 * (match - 0.75))[:, None] * target
