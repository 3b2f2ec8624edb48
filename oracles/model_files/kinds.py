"""The formats of model files that carry a program, each with its reader."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from torch import nn

from oracles.model_files.exported import read_exported
from oracles.model_files.onnx_files import read_onnx
from oracles.model_files.torchscript import read_torchscript
from oracles.oracle import ImageShape

Kind: TypeAlias = Literal["torchscript", "exported", "onnx"]


@dataclass(frozen=True, eq=False)
class Graph:
    """A program ready to run. image_shape, n_classes, batch: None where it does not fix them.

    image_shape: in the order in which the program takes it. libraries: names and versions of those besides torch that
    may change an answer. takes_bytes: its images are uint8.
    """

    module: nn.Module
    image_shape: ImageShape | None = None
    n_classes: int | None = None
    batch: int | None = None
    libraries: Mapping[str, str] = field(default_factory=dict)
    takes_bytes: bool = False


def _onnx(path: Path, data: bytes) -> Graph:
    return Graph(**vars(read_onnx(path, data)))


def _exported(path: Path, data: bytes) -> Graph:
    return Graph(**vars(read_exported(path, data)))


READERS: Mapping[Kind, Callable[[Path, bytes], Graph]] = {
    "torchscript": lambda path, data: Graph(read_torchscript(path, data)),
    "exported": _exported,
    "onnx": _onnx,
}
"""Readers by format, of the bytes of a file and its path for messages. Each raises ModelError."""
