"""What the last hidden layer of a model says of images: the input of its last linear layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from oracles.errors import ModelError
from simkit.detectors.whitebox.white_model import check_finite, private_copy, rows_of
from simkit.triggers import FloatArray, IntArray

_BLOCK = 250
"""Images per pass."""


@dataclass(frozen=True, eq=False)
class Hidden:
    """Of N images: activations float32 (N, D) of the last hidden layer, answers int32 (N,), and the number of
    classes."""

    activations: FloatArray
    answers: IntArray
    n_classes: int


def hidden(model: nn.Module, pixels: torch.Tensor) -> Hidden:
    """The last hidden layer on images float32 (N, C, H, W); the caller's module is never changed.

    Raises ModelError for a model without a linear layer that torch can watch, and NotFinite for NaN or infinity.
    """
    private = private_copy(model)
    seen: list[torch.Tensor] = []  # the inputs of the linear layers that ran, in order; the last one counts

    def watch(_layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        seen.append(inputs[0].detach())

    for layer in private.modules():
        if isinstance(layer, nn.Linear):
            layer.register_forward_pre_hook(watch)
    activations, answers, n_classes = [], [], 0
    device = next((p.device for p in private.parameters()), torch.device("cpu"))
    with torch.no_grad():
        for block in torch.split(pixels, _BLOCK):
            seen.clear()
            rows = rows_of(private, block.to(device))
            check_finite(rows)
            activations.append(_last(seen, len(block)).cpu().float())
            answers.append(rows.argmax(dim=1).cpu())
            n_classes = rows.shape[1]
    return Hidden(torch.cat(activations).numpy(), torch.cat(answers).numpy().astype(np.int32), n_classes)


def _last(seen: list[torch.Tensor], images: int) -> torch.Tensor:
    if not seen or seen[-1].ndim != 2 or len(seen[-1]) != images:
        raise ModelError("the model has no last linear layer to watch; give a torch module that ends in one")
    return seen[-1]
