"""ONNX graphs, which are checked as data before a session is created, and run by onnxruntime on the CPU."""

from __future__ import annotations

import contextlib
import importlib
import io
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

INSTALL = "pip install 'b3d-simkit[onnx]'"

_TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}
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


def read_onnx(path: Path, data: bytes) -> OnnxFile:
    """The graph in `data`, the bytes of the file `path`, from images (N, C, H, W) to one output (N, classes).

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
    image, rows = _single(path, "input", session.get_inputs()), _single(path, "output", session.get_outputs())
    batch, image_shape = _image_sizes(path, image)
    n_classes = rows.shape[1] if len(rows.shape or ()) == 2 and isinstance(rows.shape[1], int) else None
    module: nn.Module = ForeignModel(_Asking(session, image.name, rows.name, image.type), n_classes, thread_safe=True)
    if batch is not None:
        module = FixedBatch(module, batch)
    return OnnxFile(module, image_shape, n_classes, batch, {"onnxruntime": onnxruntime.__version__})


class _Asking:
    """Runs a session on one batch; onnxruntime allows several threads at once."""

    def __init__(self, session: Any, image: str, rows: str, kind: str) -> None:
        self._session, self._image, self._rows, self._type = session, image, rows, _TYPES[kind]

    def __call__(self, images: FloatArray) -> Any:
        return self._session.run([self._rows], {self._image: images.astype(self._type, copy=False)})[0]


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


def _single(path: Path, what: str, values: list[Any]) -> Any:
    if len(values) != 1:
        names = ", ".join(value.name[:40] for value in values[:4])
        raise ModelError(f"{path} has {len(values)} {what}s ({names}); export a graph with one, from images to scores")
    if values[0].type not in _TYPES:
        raise ModelError(f"{path}: its {what} is {values[0].type}; it must be one of {', '.join(_TYPES)}")
    return values[0]


def _image_sizes(path: Path, image: Any) -> tuple[int | None, ImageShape | None]:
    """The batch size and the shape of one image, each None where the graph does not fix it."""
    if len(image.shape or ()) != 4:
        raise ModelError(f"{path} takes {image.shape}; it must take images (N, channels, height, width)")
    batch, *sizes = (size if isinstance(size, int) and size > 0 else None for size in image.shape)
    channels, height, width = sizes
    if channels is None or height is None or width is None:
        return batch, None
    return batch, (channels, height, width)
