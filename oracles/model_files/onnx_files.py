"""ONNX graphs, which are checked as data before a session is created, and run by onnxruntime on the CPU."""

from __future__ import annotations

import contextlib
import importlib
import io
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from oracles.answers import FloatArray
from oracles.errors import ModelError, one_line
from oracles.foreign import FixedBatch, ForeignModel
from oracles.model_files.training import check_onnx
from oracles.oracle import ImageShape
from oracles.returned import classes_in

INSTALL = "pip install 'b3d-simkit[onnx]'"

_TYPES: Mapping[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}
_OWN_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
"""Domains of the operators that onnxruntime contains; all others come from libraries, which are never loaded."""


@dataclass(frozen=True, eq=False)
class OnnxFile:
    """A graph ready to run. image_shape, n_classes, batch: None where the graph does not fix them."""

    module: nn.Module
    image_shape: ImageShape | None
    n_classes: int | None
    batch: int | None
    libraries: Mapping[str, str]
    takes_bytes: bool


def read_onnx(path: Path, data: bytes) -> OnnxFile:
    """The graph in `data`, the bytes of the file `path`, from images (N, C, H, W) to scores (N, classes).

    Raises ModelError on a damaged file, on weights stored in other files (anywhere in the graph), on operators from
    other libraries, and if onnxruntime or onnx is not installed.
    """
    onnx, onnxruntime = _imported("onnx"), _imported("onnxruntime")
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:
        raise ModelError(f"{path} is damaged or no ONNX file: {one_line(error)}") from error
    _check_self_contained(path, model)
    try:
        check_onnx(model)
    except ModelError as error:
        raise ModelError(f"{path} is refused: {error}") from error
    session = _session(path, data, onnxruntime)
    image, outputs = _image(path, session.get_inputs()), _outputs(path, session.get_outputs())
    batch, image_shape = _image_sizes(path, image)
    n_classes = classes_in(outputs[0].shape or ()) if len(outputs) == 1 else None
    asking = _Asking(session, image.name, [output.name for output in outputs], image.type)
    module: nn.Module = ForeignModel(asking, _widths(outputs), thread_safe=True)
    if batch is not None:
        module = FixedBatch(module, batch)
    libraries = {"onnxruntime": onnxruntime.__version__}
    return OnnxFile(module, image_shape, n_classes, batch, libraries, _TYPES[image.type] is np.uint8)


class _Asking:
    """Runs a session on one batch; onnxruntime allows several threads at once."""

    def __init__(self, session: Any, image: str, outputs: list[str], kind: str) -> None:
        self._session, self._image, self._outputs, self._type = session, image, outputs, _TYPES[kind]

    def __call__(self, images: FloatArray) -> Any:
        answers = self._session.run(self._outputs, {self._image: images.astype(self._type, copy=False)})
        return answers[0] if len(answers) == 1 else dict(zip(self._outputs, answers, strict=True))


def _imported(library: str) -> Any:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # onnxruntime 1.32 writes into the user's cache, and sends it
    try:
        return importlib.import_module(library)
    except ImportError as error:
        raise ModelError(f"ONNX files need {library}: {INSTALL}") from error


def _check_self_contained(path: Path, model: Any) -> None:
    for message in _messages(model):
        kind = message.DESCRIPTOR.name
        if kind == "TensorProto" and (message.external_data or message.data_location):
            where = next((entry.value for entry in message.external_data if entry.key == "location"), "another file")
            raise ModelError(
                f"{path} is refused: weights ({message.name[:80]!r}) lie outside, in {where[:80]!r}; store all in one "
                "file: onnx.save(onnx.load(path), new, save_as_external_data=False)"
            )
        if kind == "NodeProto" and message.domain not in _OWN_DOMAINS and not _is_own_function(model, message):
            raise ModelError(
                f"{path} needs the operator {message.domain[:80]}:{message.op_type[:80]} from a library, and no "
                "library is loaded"
            )
        if kind == "NodeProto" and message.op_type == "EPContext":
            raise ModelError(f"{path} is refused: it holds a compiled program (EPContext); export the model itself")


def _is_own_function(model: Any, node: Any) -> bool:
    return any((function.domain, function.name) == (node.domain, node.op_type) for function in model.functions)


def _messages(message: Any) -> Iterator[Any]:
    """Every message inside a protobuf message, however deep: subgraphs, functions and attributes too."""
    waiting = [message]
    while waiting:
        nested = waiting.pop()
        yield nested
        for field, value in nested.ListFields():
            if field.message_type is not None:
                waiting += value if field.is_repeated else [value]


def _session(path: Path, data: bytes, onnxruntime: Any) -> Any:
    """A session with one thread per pass: passes run in parallel, and answers do not depend on the number of
    threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised, in one line, and not logged
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # onnxruntime prints that it retries
            return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelError(f"{path} is an ONNX file that onnxruntime cannot run: {one_line(error)}") from error


def _image(path: Path, inputs: list[Any]) -> Any:
    if len(inputs) != 1:
        names = ", ".join(value.name[:40] for value in inputs[:4])
        raise ModelError(f"{path} has {len(inputs)} inputs ({names}); export a graph with one, which takes images")
    if inputs[0].type not in _TYPES:
        raise ModelError(f"{path}: its input is {inputs[0].type}; it must be one of {', '.join(_TYPES)}")
    return inputs[0]


def _outputs(path: Path, outputs: list[Any]) -> list[Any]:
    """Those that are tensors. Raises ModelError where none of them can be scores."""
    if not any(value.type in _TYPES for value in outputs):
        kinds = ", ".join(value.type for value in outputs[:4])
        raise ModelError(f"{path}: its output is {kinds}; scores must be one of {', '.join(_TYPES)}")
    return [value for value in outputs if value.type.startswith("tensor(")]


def _widths(outputs: list[Any]) -> int | dict[str, int] | None:
    """How wide the answers are, by name where there are several; None where the graph does not fix all of them."""
    widths = {}
    for output in outputs:
        sizes = (output.shape or ())[1:]
        if not all(isinstance(size, int) for size in sizes):
            return None
        widths[output.name] = math.prod(sizes)
    return widths if len(outputs) > 1 else next(iter(widths.values()))


def _image_sizes(path: Path, image: Any) -> tuple[int | None, ImageShape | None]:
    """The batch size and the shape of one image, each None where the graph does not fix it."""
    if len(image.shape or ()) != 4:
        raise ModelError(f"{path} takes {image.shape}; it must take images (N, channels, height, width)")
    batch, *sizes = (size if isinstance(size, int) and size > 0 else None for size in image.shape)
    channels, height, width = sizes
    if channels is None or height is None or width is None:
        return batch, None
    return batch, (channels, height, width)
