"""Writes a module as a file of each model format that carries a program, for the benchmarks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn


def write_torchscript(module: nn.Module, images: torch.Tensor, path: Path) -> None:
    trace: Callable[..., Any] = torch.jit.trace
    trace(module, images).save(str(path))


def write_exported(module: nn.Module, images: torch.Tensor, path: Path) -> None:
    torch.export.save(torch.export.export(module, (images,), dynamic_shapes=open_batch()), path)


def write_onnx(module: nn.Module, images: torch.Tensor, path: Path) -> None:
    shapes = open_batch()
    torch.onnx.export(module, (images,), path, dynamo=True, dynamic_shapes=shapes, external_data=False, verbose=False)


def open_batch() -> Any:
    """Any number of images, at least one."""
    return ({0: torch.export.Dim("batch", min=1)},)


WRITERS: dict[str, tuple[str, Callable[[nn.Module, torch.Tensor, Path], None]]] = {
    "TorchScript": (".pt", write_torchscript),
    "torch.export": (".pt2", write_exported),
    "ONNX": (".onnx", write_onnx),
}
NEEDED = {"ONNX": ("onnx", "onnxruntime", "onnxscript")}
"""The libraries besides torch that a format needs."""
