"""What the last hidden layer of a model says of images: the input of its last linear layer."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from oracles.errors import ModelError, one_line
from simkit.search.evaluator import NotFinite
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
    try:
        private = copy.deepcopy(model).eval()
    except Exception as error:
        raise ModelError(f"cannot make a private copy of the model: {one_line(error)}") from error
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
            rows = _answered(private, block.to(device))
            activations.append(_last(seen, len(block)).cpu().float())
            answers.append(rows.argmax(dim=1).cpu())
            n_classes = rows.shape[1]
    return Hidden(torch.cat(activations).numpy(), torch.cat(answers).numpy().astype(np.int32), n_classes)


def _answered(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    try:
        rows = model(images)
    except Exception as error:
        raise ModelError(f"the model failed on images {tuple(images.shape)}: {one_line(error)}") from error
    if not isinstance(rows, torch.Tensor) or rows.ndim != 2 or len(rows) != len(images) or rows.shape[1] < 2:
        raise ModelError(f"the model must answer {len(images)} images with a tensor ({len(images)}, classes)")
    if not bool(torch.isfinite(rows).all()):
        raise NotFinite("the model answered NaN or infinity; is it trained, and its input scaled?")
    return rows


def _last(seen: list[torch.Tensor], images: int) -> torch.Tensor:
    if not seen or seen[-1].ndim != 2 or len(seen[-1]) != images:
        raise ModelError("the model has no last linear layer to watch; give a torch module that ends in one")
    return seen[-1]
