"""Attacks of foolbox on any oracle."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from oracles.adapters.asked import Asked
from oracles.errors import ModelError


class _Asking(nn.Module):
    def __init__(self, asked: Asked) -> None:
        super().__init__()
        self._asked = asked

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self._asked.scores(images.detach().numpy()))


def foolbox_model(asked: Asked) -> Any:
    """A foolbox `PyTorchModel` with bounds (0, 1), on the CPU, that asks through `asked`; it has no gradients.

    Run its attacks in `asked.run`. Raises ModelError if foolbox, or GitPython, which it imports, is not installed.
    """
    try:
        from foolbox import PyTorchModel
    except ImportError as error:
        raise ModelError(f"foolbox cannot be imported ({error}); install foolbox with what it needs") from None
    return PyTorchModel(_Asking(asked).eval(), bounds=(0.0, 1.0), device="cpu")
