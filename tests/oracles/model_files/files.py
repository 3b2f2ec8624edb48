"""Model files of every kind, and a canary that sings where code runs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file
from torch import nn

from oracles.errors import ModelError
from oracles.model_files import Description, load_model
from oracles.oracle import ImageShape
from tests.oracles.nets import seeded

SHAPE = (3, 8, 8)
METADATA = {"architecture": "flat", "n_classes": "4", "image_shape": "[3, 8, 8]", "output": "logits"}
TOLD = Description("flat", SHAPE, 4)


def flat(image_shape: ImageShape, n_classes: int) -> nn.Module:
    channels, height, width = image_shape
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, n_classes))


ARCHITECTURES = {"flat": flat}


def victim() -> nn.Module:
    return seeded(flat(SHAPE, 4))


class Canary:
    """Unpickling it creates the file it names: proof that code ran."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self.path,)


def refusal(path: Path, given: Description = TOLD) -> str:
    """The one line that refuses a file."""
    with pytest.raises(ModelError) as caught:
        load_model(path, ARCHITECTURES, given)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def onnx_model(batch: int | str = "N", sizes: tuple[Any, ...] = SHAPE, classes: int = 4) -> Any:
    """The flat victim as an ONNX graph."""
    weights = [numpy_helper.from_array(w.numpy(), n) for n, w in victim().state_dict().items()]
    nodes = [
        helper.make_node("Flatten", ["images"], ["flat"]),
        helper.make_node("Gemm", ["flat", "1.weight", "1.bias"], ["scores"], transB=1),
    ]
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, *sizes])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, classes])
    graph = helper.make_graph(nodes, "flat", [images], [scores], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def save_onnx(path: Path) -> None:
    onnx.save(onnx_model(), path)


def save_safetensors(path: Path) -> None:
    save_file(victim().state_dict(), path, METADATA)


def save_state_dict(path: Path) -> None:
    torch.save(victim().state_dict(), path)


def save_legacy(path: Path) -> None:
    torch.save(victim().state_dict(), path, _use_new_zipfile_serialization=False)


def save_torchscript(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(victim()), path)


def save_exported(path: Path, model: nn.Module | None = None, batch: int | None = None) -> None:
    """Of `model`, the victim by default; the batch is left open if it is None."""
    shapes: Any = None if batch else ({0: torch.export.Dim("batch", min=1)},)
    module = victim() if model is None else model
    program = torch.export.export(module, (torch.rand(batch or 3, *SHAPE),), dynamic_shapes=shapes)
    torch.export.save(program, path)


KINDS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "safetensors": (".safetensors", save_safetensors),
    "state_dict": (".pt", save_state_dict),
    "legacy": (".pt", save_legacy),
    "torchscript": (".pt", save_torchscript),
    "exported": (".pt2", save_exported),
    "onnx": (".onnx", save_onnx),
}
