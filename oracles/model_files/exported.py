"""Reads archives of torch.export as data: no pickle in them is opened and no expression is evaluated.

`torch.export.load` unpickles (weights with `use_pickle`, custom objects, sample inputs) and evaluates the text of
symbolic sizes with sympy, so a file can run code through it (torch 2.13, `torch/export/pt2_archive/_package.py` and
`torch/_export/serde/serialize.py`). Here the graph is JSON that names tensor operators, and weights are raw bytes.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from oracles.errors import ModelError, one_line
from oracles.foreign import FixedBatch
from oracles.model_files.exported_graph import DTYPES, ExportedGraph, Step, step_of
from oracles.oracle import ImageShape
from oracles.returned import classes_in

_MODEL, _OLD = "/models/model.json", "serialized_exported_program.json"
_SCHEMA = 8
"""The major version of the format in torch 2.8 to 2.13 (`torch/_export/serde/schema.py`)."""


@dataclass(frozen=True, eq=False)
class ExportedFile:
    """A graph ready to run. image_shape, n_classes, batch: None where the graph does not fix them."""

    module: nn.Module
    image_shape: ImageShape | None
    n_classes: int | None
    batch: int | None
    takes_bytes: bool


def is_exported(members: list[str]) -> bool:
    """Whether an archive with these members is one of torch.export."""
    return any(name.endswith(_MODEL) or name == _OLD for name in members)


def read_exported(path: Path, data: bytes) -> ExportedFile:
    """The program in `data`, the bytes of the file `path`: it takes one batch of images, float32 or uint8.

    Raises ModelError on a damaged archive, on one that holds anything but tensor operators and raw weights, and on a
    model that was exported in training mode.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _file_of(_Archive(archive))
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    except Exception as error:  # the JSON may have any content, and reading it may raise errors of any type
        raise ModelError(f"{path} is damaged or no archive of torch.export: {one_line(error)}") from error


class _Archive:
    """The members of one archive, below the one folder that holds them all."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        models = [name for name in archive.namelist() if name.endswith(_MODEL)]
        if not models:
            raise ModelError("an archive of torch before 2.8; load it there, and save it with torch 2.8 or newer")
        self._root = models[0].removesuffix(_MODEL)

    def bytes(self, name: str) -> bytearray:
        return bytearray(self._archive.read(f"{self._root}/{name}"))

    def json(self, name: str) -> Any:
        return json.loads(self.bytes(name))


def _file_of(archive: _Archive) -> ExportedFile:
    program = archive.json(_MODEL[1:])
    major = program["schema_version"]["major"]
    if major != _SCHEMA:
        raise ModelError(
            f"format {major} of torch.export is not supported, only format {_SCHEMA}; give safetensors or ONNX"
        )
    graph, signature = program["graph_module"]["graph"], program["graph_module"]["signature"]
    image, tensors = _inputs(archive, signature["input_specs"])
    outputs = _outputs(signature["output_specs"])
    steps = [_checked_step(node) for node in graph["nodes"]]
    batch, *image_sizes = _sizes(graph["tensor_values"][image])
    n_classes = classes_in(_sizes(graph["tensor_values"][outputs[0]])) if len(outputs) == 1 else None
    dtype = DTYPES.get(graph["tensor_values"][image]["dtype"])
    if dtype not in (torch.float32, torch.uint8) or len(image_sizes) != 3:
        raise ModelError("its input is not a float32 or uint8 batch of images (N, channels, height, width)")
    module: nn.Module = ExportedGraph(image, outputs, steps, tensors)
    if batch is not None:
        module = FixedBatch(module, batch)
    channels, height, width = image_sizes
    shape = None if channels is None or height is None or width is None else (channels, height, width)
    return ExportedFile(module, shape, n_classes, batch, dtype is torch.uint8)


def _inputs(archive: _Archive, specs: list[dict[str, Any]]) -> tuple[str, dict[str, torch.Tensor]]:
    """The name of the input for images, and the tensor of every other input by name."""
    weights = _Payload(archive, "data/weights", "weights")
    constants = _Payload(archive, "data/constants", "constants")
    images, tensors = [], {}
    for spec in specs:
        ((kind, value),) = spec.items()
        if kind == "user_input":
            images.append(value["arg"]["as_tensor"]["name"])
        elif kind == "parameter":
            tensors[value["arg"]["name"]] = weights.tensor(value["parameter_name"])
        elif kind == "buffer":
            kept = weights if value["persistent"] else constants
            tensors[value["arg"]["name"]] = kept.tensor(value["buffer_name"])
        elif kind == "tensor_constant":
            tensors[value["arg"]["name"]] = constants.tensor(value["tensor_constant_name"])
        else:
            raise ModelError(f"it takes a {kind}, but only tensors can be read safely")
    if len(images) != 1:
        raise ModelError(f"it takes {len(images)} inputs; export a model that takes one batch of images")
    return images[0], tensors


class _Payload:
    """Tensors of one folder of the archive, each a view of raw bytes."""

    def __init__(self, archive: _Archive, folder: str, kind: str) -> None:
        self._archive, self._folder = archive, folder
        self._entries: Mapping[str, Any] = archive.json(f"{folder}/model_{kind}_config.json")["config"]

    def tensor(self, name: str) -> torch.Tensor:
        entry = self._entries[name]
        if entry["use_pickle"] or entry["tensor_meta"] is None:
            raise ModelError(f"{name} is stored as a pickle, which is never opened; export a model of plain tensors")
        meta = entry["tensor_meta"]
        data, dtype = self._archive.bytes(f"{self._folder}/{entry['path_name']}"), DTYPES[meta["dtype"]]
        sizes, strides = _sizes(meta), [size["as_int"] for size in meta["strides"]]
        if not data:
            return torch.zeros(sizes, dtype=dtype) if 0 in sizes else _no_bytes(name)
        flat = torch.frombuffer(data, dtype=dtype)
        if math.prod(sizes) > len(flat):
            raise ModelError(f"{name} has fewer values than its sizes need")
        return torch.as_strided(flat, sizes, strides, meta["storage_offset"]["as_int"]).clone()


def _no_bytes(name: str) -> torch.Tensor:
    raise ModelError(f"{name} has no values in it")


def _sizes(meta: Mapping[str, Any]) -> list[Any]:
    """One number per dimension, None where it is not fixed."""
    return [size.get("as_int") for size in meta["sizes"]]


def _outputs(specs: list[dict[str, Any]]) -> list[str]:
    kinds = [kind for spec in specs for kind in spec]
    if not kinds or set(kinds) != {"user_output"}:
        raise ModelError(f"it returns {', '.join(kinds)[:200]}; export a model in eval mode that returns scores")
    return [spec["user_output"]["arg"]["as_tensor"]["name"] for spec in specs]


def _checked_step(node: dict[str, Any]) -> Step:
    for entry in node["inputs"]:
        if entry["name"] in ("training", "train") and entry["arg"].get("as_bool"):
            raise ModelError("the model was exported in training mode; call model.eval() before torch.export.export")
    return step_of(node)
