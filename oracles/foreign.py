"""Models that take and give numpy arrays, as torch modules: whoever runs a module runs them too."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn

from oracles.answers import FloatArray

Answering: TypeAlias = Callable[[FloatArray], Any]


class ForeignModel(nn.Module):
    """Asks `answer` with a private contiguous float32 array (N, C, H, W), and takes what it gives for rows.

    answer: gives numbers (N, classes) as an array, a tensor or nested lists. n_classes: told for no images, of which
    `answer` is never asked; None if it is not known. thread_safe: several threads may ask at once. It runs where it
    wants to, in float32: moving it elsewhere raises ValueError. Copies share one `answer`.
    """

    def __init__(self, answer: Answering, n_classes: int | None, thread_safe: bool) -> None:
        super().__init__()
        self._answer, self._n_classes = answer, n_classes
        self.thread_safe = thread_safe

    def forward(self, images: torch.Tensor) -> object:
        if len(images) == 0:
            if self._n_classes is None:
                raise ValueError("no images, no answer")
            return torch.empty(0, self._n_classes)
        with torch.inference_mode(False):  # it may want gradients of its own
            return _as_tensor(self._answer(np.ascontiguousarray(images.numpy())))

    def __deepcopy__(self, memo: object) -> ForeignModel:
        return self

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> ForeignModel:
        moved = fn(torch.zeros((), dtype=torch.float32))
        if moved.dtype != torch.float32 or moved.device.type != "cpu":
            raise ValueError("it takes float32 from the CPU; leave precision and device out")
        return self


class FixedBatch(nn.Module):
    """A model that takes exactly `size` images, for any number of them: black images fill up the last pass."""

    thread_safe = True

    def __init__(self, model: nn.Module, size: int) -> None:
        super().__init__()
        self._model, self._size = model, size

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        lacking = -len(images) % self._size if len(images) else self._size
        filled = torch.cat([images, images.new_zeros(lacking, *images.shape[1:])])
        rows = torch.cat([self._model(part) for part in torch.split(filled, self._size)])
        return rows[: len(images)]


def _as_tensor(rows: Any) -> object:
    """The same numbers as a tensor; whatever holds none is left to the one who checks rows."""
    if isinstance(rows, torch.Tensor):
        return rows.detach()
    if not isinstance(rows, np.ndarray | list | tuple):
        return rows
    with warnings.catch_warnings():
        warnings.simplefilter("error", np.exceptions.ComplexWarning)
        return torch.from_numpy(np.array(rows, dtype=np.float32))
