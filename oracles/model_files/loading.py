"""Loads a model file of any supported format, which is recognised by the file's content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from oracles.errors import ModelError
from oracles.known_files import mistaken_for
from oracles.model_files.architectures import Architecture, library_of
from oracles.model_files.archives import members_of
from oracles.model_files.description import (
    NOTHING_GIVEN,
    SAVE_INSTEAD,
    Description,
    LoadedModel,
    completed,
    described,
    merged,
)
from oracles.model_files.exported import is_exported
from oracles.model_files.fitting import assembled
from oracles.model_files.kinds import READERS, Kind
from oracles.model_files.weights import read_safetensors, read_state_dict
from oracles.outside import MODEL_BYTES, OutsideFile, read_outside
from oracles.sandbox.model import SandboxedModel, open_sandboxed

_FOREIGN = {
    ".keras": "a Keras model; export it to ONNX, for example with model.export(path, format='onnx')",
    ".pb": "a TensorFlow graph; export it to ONNX, for example with tf2onnx",
}
"""Formats of other frameworks, which only the name of a file tells, by its suffix."""


def load_model(
    file: str | Path | OutsideFile,
    own: Mapping[str, Architecture],
    given: Description = NOTHING_GIVEN,
    *,
    trusted: bool = False,
    nhwc: bool = False,
) -> LoadedModel:
    """Read weights (`.safetensors`, or a state_dict saved by `torch.save`), TorchScript, `torch.export` or ONNX.

    own: architectures by name, each a function that makes a module from (image_shape, n_classes); those of torchvision
    and timm are known as well. given: fills in what the file does not state; plain weights need its architecture,
    image_shape and n_classes. A safetensors file may state these in its metadata, each as text: architecture,
    n_classes, image_shape as JSON, output. Raises ModelError on a file that cannot be read safely or does not fit, and
    where such metadata and `given` disagree. The sizes that a graph fixes take precedence over `given`.

    TorchScript, torch.export and ONNX files are programs. They are opened and run in a process that can open nothing,
    see `oracles.sandbox`; trusted: in this one. nhwc: they take images (N, H, W, C).
    """
    file = file if isinstance(file, OutsideFile) else model_file(file)
    read = _read(file, own, given, trusted, nhwc)
    description = read.description
    return LoadedModel(
        read.module.eval(),
        description.image_shape,
        description.n_classes,
        description.output,
        file.sha256,
        description.architecture,
        file.path.stem,
        read.batch,
        read.libraries,
        read.notes,
        read.takes_bytes,
    )


@dataclass(frozen=True, eq=False)
class _Read:
    module: nn.Module
    description: Description
    batch: int | None = None
    libraries: Mapping[str, str] = field(default_factory=dict)
    notes: str = ""
    takes_bytes: bool = False


def _read(file: OutsideFile, own: Mapping[str, Architecture], given: Description, trusted: bool, nhwc: bool) -> _Read:
    path, data, suffix = file.path, file.data, file.path.suffix.lower()
    if suffix == ".safetensors":
        weights, metadata = read_safetensors(path, data)
        full = merged(path, described(path, metadata), given)
        return _Read(assembled(path, weights, own, full), full, libraries=library_of(full.architecture))
    kind = "onnx" if suffix == ".onnx" else _kind_of_archive(members_of(path, data))
    if kind is None:
        weights, chosen = read_state_dict(path, data)
        module = assembled(path, weights, own, given)
        return _Read(module, given, libraries=library_of(given.architecture), notes=chosen)
    graph = READERS[kind](path, data) if trusted else open_sandboxed(file, kind)
    shape = graph.image_shape
    if nhwc and shape is not None:
        shape = (shape[2], shape[0], shape[1])
    full = completed(Description(image_shape=shape, n_classes=graph.n_classes), given)
    return _Read(graph.module, full, graph.batch, graph.libraries, _notes(graph.module), graph.takes_bytes)


def _kind_of_archive(members: list[str]) -> Kind | None:
    if is_exported(members):
        return "exported"
    return "torchscript" if any(name.endswith("/constants.pkl") for name in members) else None


def _notes(module: nn.Module) -> str:
    """What a result says of how the program in a file was run."""
    if not isinstance(module, SandboxedModel):
        return "the model file was trusted, and its program ran in simkit's own process"
    if module.missing:
        return f"the model file ran in a process of its own, without {' and '.join(module.missing)}: not available here"
    return ""


def model_file(path: str | Path) -> OutsideFile:
    """The file of a model, read once. Raises ModelError where it cannot be read, is too large, or is empty."""
    try:
        file = read_outside(path, MODEL_BYTES)
    except OSError as error:
        raise ModelError(f"cannot read the model {path}: {error.strerror or error}") from error
    if not file.data:
        raise ModelError(f"{path} is empty; {SAVE_INSTEAD}")
    if kind := mistaken_for(file.data) or _FOREIGN.get(file.path.suffix.lower(), ""):
        raise ModelError(f"{path} is {kind}")
    return file
