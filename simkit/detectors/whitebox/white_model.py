"""A model with gradients, which counts its forward and backward passes."""

from __future__ import annotations

import copy

import torch
from torch import nn

from oracles.errors import ModelError, one_line
from oracles.fold import prepare
from oracles.rows import evidence
from oracles.torch_model import SUM_TOLERANCE
from simkit.search.evaluator import NotFinite

_SMALLEST = 1e-12
"""Lower bound of a score before the logarithm."""


class WhiteModel:
    """A private copy of a model in eval mode with folded batch norms; the caller's module is never changed.

    forward_passes, backward_passes: numbers of images, the cost of a white-box detector. Raises ModelError if the model
    cannot be copied.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = private_copy(model).requires_grad_(False)
        tensors = (*self._model.parameters(), *self._model.buffers())
        self.device = tensors[0].device if tensors else torch.device("cpu")
        self._fast = self._folded()
        self.forward_passes, self.backward_passes = 0, 0
        self._probabilities: bool | None = None

    def log_probabilities(self, images: torch.Tensor) -> torch.Tensor:
        """log f(x): images float32 (N, C, H, W) in [0, 1] to (N, T), with gradients if the images have them.

        The first rows decide whether the model returns probabilities or logits. Raises ModelError if it fails, returns
        a wrong shape or no gradients; NotFinite if it returns NaN or infinity.
        """
        rows = self._rows(images)
        check_finite(rows)
        self.forward_passes += len(images)
        if images.requires_grad:
            if not rows.requires_grad:
                raise ModelError("the model returns no gradients; a white-box detector needs a pure torch model")
            self.backward_passes += len(images)
        if self._probabilities is None:
            shown = evidence(rows.detach().cpu(), SUM_TOLERANCE["float32"])
            self._probabilities = shown is not None and shown.probabilities
        return rows.clamp(min=_SMALLEST).log() if self._probabilities else rows.log_softmax(dim=1)

    def _folded(self) -> nn.Module | None:
        """The same function, two to three times as fast on CPUs; None for TorchScript, which folds batch norms
        itself."""
        return (
            None
            if isinstance(self._model, torch.jit.ScriptModule)
            else prepare(self._model, self.device, torch.float32).module
        )

    def _rows(self, images: torch.Tensor) -> torch.Tensor:
        images = images.to(self.device)
        if self._fast is not None:
            try:
                return _checked(images, self._fast(images.contiguous(memory_format=torch.channels_last)))
            except Exception:
                self._fast = None  # code that needs another layout; use the model unfolded from now on
        return rows_of(self._model, images)


def private_copy(model: nn.Module) -> nn.Module:
    """A copy in eval mode, so that the caller's module is never changed. Raises ModelError if it cannot be copied."""
    try:
        return copy.deepcopy(model).eval()
    except Exception as error:
        raise ModelError(f"cannot make a private copy of the model: {one_line(error)}") from error


def rows_of(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """What a model answers images (N, C, H, W), float32 (N, classes). Raises ModelError if it fails or has another
    shape."""
    try:
        rows = model(images)
    except Exception as error:
        raise ModelError(f"the model failed on images {tuple(images.shape)}: {one_line(error)}") from error
    return _checked(images, rows)


def check_finite(rows: torch.Tensor) -> None:
    """Raise NotFinite for NaN or infinity."""
    if not bool(torch.isfinite(rows).all()):
        raise NotFinite("the model answered NaN or infinity; is it trained, and its input scaled?")


def _checked(images: torch.Tensor, rows: object) -> torch.Tensor:
    if not isinstance(rows, torch.Tensor) or rows.ndim != 2 or len(rows) != len(images) or rows.shape[1] < 2:
        raise ModelError(f"the model must answer {len(images)} images with a tensor ({len(images)}, classes)")
    return rows.float()
