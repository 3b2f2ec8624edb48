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
from oracles.model_files.exported import is_exported, read_exported
from oracles.model_files.fitting import assembled
from oracles.model_files.onnx_files import read_onnx
from oracles.model_files.torchscript import read_torchscript
from oracles.model_files.weights import read_safetensors, read_state_dict
from oracles.outside import MODEL_BYTES, OutsideFile, read_outside


def load_model(
    file: str | Path | OutsideFile, own: Mapping[str, Architecture], given: Description = NOTHING_GIVEN
) -> LoadedModel:
    """Read weights (`.safetensors`, or a state_dict saved by `torch.save`), TorchScript, `torch.export` or ONNX.

    own: architectures by name, each a function that makes a module from (image_shape, n_classes); those of torchvision
    and timm are known as well. given: fills in what the file does not state; plain weights need its architecture,
    image_shape and n_classes. A safetensors file may state these in its metadata, each as text: architecture,
    n_classes, image_shape as JSON, output. Raises ModelError on a file that cannot be read safely or does not fit, and
    where such metadata and `given` disagree. The sizes that a graph fixes take precedence over `given`.
    """
    file = file if isinstance(file, OutsideFile) else model_file(file)
    read = _read(file.path, file.data, own, given)
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
    )


@dataclass(frozen=True, eq=False)
class _Read:
    module: nn.Module
    description: Description
    batch: int | None = None
    libraries: Mapping[str, str] = field(default_factory=dict)


def _read(path: Path, data: bytes, own: Mapping[str, Architecture], given: Description) -> _Read:
    if path.suffix.lower() == ".onnx":
        onnx = read_onnx(path, data)
        stated = Description(image_shape=onnx.image_shape, n_classes=onnx.n_classes)
        return _Read(onnx.module, completed(stated, given), onnx.batch, onnx.libraries)
    if path.suffix.lower() == ".safetensors":
        weights, metadata = read_safetensors(path, data)
        full = merged(path, described(path, metadata), given)
        return _Read(assembled(path, weights, own, full), full, libraries=library_of(full.architecture))
    members = members_of(path, data)
    if is_exported(members):
        exported = read_exported(path, data)
        stated = Description(image_shape=exported.image_shape, n_classes=exported.n_classes)
        return _Read(exported.module, completed(stated, given), exported.batch)
    if any(name.endswith("/constants.pkl") for name in members):
        return _Read(read_torchscript(path, data), given)
    module = assembled(path, read_state_dict(path, data), own, given)
    return _Read(module, given, libraries=library_of(given.architecture))


def model_file(path: str | Path) -> OutsideFile:
    """The file of a model, read once. Raises ModelError where it cannot be read, is too large, or is empty."""
    try:
        file = read_outside(path, MODEL_BYTES)
    except OSError as error:
        raise ModelError(f"cannot read the model {path}: {error.strerror or error}") from error
    if not file.data:
        raise ModelError(f"{path} is empty; {SAVE_INSTEAD}")
    if kind := mistaken_for(file.data):
        raise ModelError(f"{path} is {kind}")
    return file
