"""Wraps models that take and return numpy arrays as torch modules, so that one code path runs both."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn

from oracles.answers import FloatArray
from oracles.returned import tensors_in

Answering: TypeAlias = Callable[[FloatArray], Any]


class ForeignModel(nn.Module):
    """Calls `answer` with its own contiguous float32 array (N, C, H, W) and returns the result as a tensor.

    answer: returns numbers (N, classes) as an array, a tensor or nested lists, or several such in a dict, or in a tuple
    of different shapes. n_classes: the width of the result for an empty batch, for which `answer` is not called, or the
    widths by name in a dict; None if it is unknown. thread_safe: several threads may call at
    once. The model runs in float32 on its own device: moving it raises ValueError. Copies share one `answer`.
    """

    def __init__(self, answer: Answering, n_classes: int | Mapping[str, int] | None, thread_safe: bool) -> None:
        super().__init__()
        self._answer, self._n_classes = answer, n_classes
        self.thread_safe = thread_safe

    def forward(self, images: torch.Tensor) -> object:
        if len(images) == 0:
            if self._n_classes is None:
                raise ValueError("an empty batch has no answer while n_classes is unknown")
            if isinstance(self._n_classes, Mapping):
                return {name: torch.empty(0, width) for name, width in self._n_classes.items()}
            return torch.empty(0, self._n_classes)
        with torch.inference_mode(False):  # `answer` may compute gradients of its own
            return _as_tensor(self._answer(np.ascontiguousarray(images.numpy())))

    def __deepcopy__(self, memo: object) -> ForeignModel:
        return self

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> ForeignModel:
        moved = fn(torch.zeros((), dtype=torch.float32))
        if moved.dtype != torch.float32 or moved.device.type != "cpu":
            raise ValueError("it takes float32 arrays from the CPU; leave precision and device out")
        return self


class FixedBatch(nn.Module):
    """Lets a model that takes exactly `size` images answer any number: black images fill up the last batch."""

    thread_safe = True

    def __init__(self, model: nn.Module, size: int) -> None:
        super().__init__()
        self._model, self._size = model, size

    def forward(self, images: torch.Tensor) -> object:
        padding = -len(images) % self._size if len(images) else self._size
        filled = torch.cat([images, images.new_zeros(padding, *images.shape[1:])])
        answers = [self._model(part) for part in torch.split(filled, self._size)]
        if isinstance(answers[0], torch.Tensor):
            return torch.cat(answers)[: len(images)]
        named = [tensors_in(answer) for answer in answers]
        return {name: torch.cat([tensors[name] for tensors in named])[: len(images)] for name in named[0]}


def _as_tensor(rows: Any) -> object:
    """The same numbers as a tensor. Anything else is returned as it is; the check of the rows rejects it."""
    if isinstance(rows, torch.Tensor):
        return rows.detach()
    if isinstance(rows, tuple) and len({getattr(part, "shape", None) for part in rows} - {None}) > 1:
        rows = {str(place): part for place, part in enumerate(rows)}
    if isinstance(rows, Mapping):
        named = {str(name): _as_tensor(part) for name, part in rows.items()}
        return named if tensors_in(named) else rows
    if not isinstance(rows, np.ndarray | list | tuple):
        return rows
    with warnings.catch_warnings():
        warnings.simplefilter("error", np.exceptions.ComplexWarning)
        return torch.from_numpy(np.array(rows, dtype=np.float32))
