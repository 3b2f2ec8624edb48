"""Small torch models, each with a trait that an oracle must cope with."""

from __future__ import annotations

import torch
from torch import nn

SHAPE = (3, 8, 8)
CLASSES = 4


def seeded(model: nn.Module, seed: int = 0) -> nn.Module:
    """The same model with random weights and batch statistics that are far from the identity."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in (*model.named_parameters(), *model.named_buffers()):
            if value.is_floating_point():
                low, high = (0.5, 2.0) if "var" in name else (-0.5, 0.5)
                value.uniform_(low, high, generator=generator)
    return model.eval()


def conv_net() -> nn.Sequential:
    """Convolution, batch norm and relu twice, then a linear head: everything plain."""
    model = seeded(
        nn.Sequential(
            nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2)),
            nn.Conv2d(6, 8, 3, padding=1),
            nn.BatchNorm2d(8, affine=False),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(8 * 16, CLASSES),
        )
    )
    assert isinstance(model, nn.Sequential)
    return model


class ViewNet(nn.Module):
    """The owner's Python: counts images in a list it was handed, and needs a contiguous tensor at its `view`."""

    def __init__(self, seen: list[int]) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.head = nn.Linear(6 * 64, CLASSES)
        seeded(self)

        def count(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            seen.append(len(inputs[0]))

        self.register_forward_pre_hook(count)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.features(x)
        logits: torch.Tensor = self.head(x.view(x.size(0), -1))
        return logits


class InsideNet(nn.Module):
    """Indexes a Sequential instead of calling it, and looks at what a convolution says before its batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, CLASSES, 3), nn.BatchNorm2d(CLASSES))
        seeded(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raw: torch.Tensor = self.features[0](x)
        both: torch.Tensor = raw + self.features(x)
        return both.mean(dim=(2, 3))


class Answering(nn.Module):
    """Answers rows of a fixed table, in turn, whatever the images; its weight makes 4 classes known."""

    def __init__(self, rows: object) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(CLASSES, 2))
        self.rows = rows

    def forward(self, x: torch.Tensor) -> object:
        if isinstance(self.rows, torch.Tensor):
            return self.rows[: len(x)]
        return self.rows


def reference(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """The probabilities that the model itself answers, in one float32 batch."""
    with torch.no_grad():
        return torch.softmax(model(images), dim=1)
