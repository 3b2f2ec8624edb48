"""A model file of any kind, told apart by what is in it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from oracles.errors import ModelError
from oracles.model_files.architectures import Architecture, library_of
from oracles.model_files.archives import members_of
from oracles.model_files.description import (
    NOTHING_TOLD,
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


def load_model(path: str | Path, own: Mapping[str, Architecture], told: Description = NOTHING_TOLD) -> LoadedModel:
    """Read weights (`.safetensors`, or a state_dict saved by `torch.save`), TorchScript, `torch.export` or ONNX.

    own: architectures by name, each making a module of (image_shape, n_classes); those of torchvision and timm are
    known besides. told: fills in what the file does not say; plain weights need its architecture, image_shape and
    n_classes. A safetensors file may say them in its metadata, each as text: architecture, n_classes, image_shape as
    JSON, output. Raises ModelError on anything that cannot be read safely or does not fit, and where such metadata and
    `told` disagree; the sizes that a graph fixes go before those told.
    """
    path = Path(path)
    digest = _digest(path)
    read = _read(path, own, told)
    known = read.known
    return LoadedModel(
        read.module.eval(),
        known.image_shape,
        known.n_classes,
        known.output,
        digest,
        known.architecture,
        path.stem,
        read.batch,
        read.libraries,
    )


@dataclass(frozen=True, eq=False)
class _Read:
    module: nn.Module
    known: Description
    batch: int | None = None
    libraries: Mapping[str, str] = field(default_factory=dict)


def _read(path: Path, own: Mapping[str, Architecture], told: Description) -> _Read:
    if path.suffix.lower() == ".onnx":
        onnx = read_onnx(path)
        stated = Description(image_shape=onnx.image_shape, n_classes=onnx.n_classes)
        return _Read(onnx.module, completed(stated, told), onnx.batch, onnx.libraries)
    if path.suffix.lower() == ".safetensors":
        weights, metadata = read_safetensors(path)
        known = merged(path, described(path, metadata), told)
        return _Read(assembled(path, weights, own, known), known, libraries=library_of(known.architecture))
    members = members_of(path)
    if is_exported(members):
        exported = read_exported(path)
        stated = Description(image_shape=exported.image_shape, n_classes=exported.n_classes)
        return _Read(exported.module, completed(stated, told), exported.batch)
    if any(name.endswith("/constants.pkl") for name in members):
        return _Read(read_torchscript(path), told)
    return _Read(assembled(path, read_state_dict(path), own, told), told, libraries=library_of(told.architecture))


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            if not file.peek(1):
                raise ModelError(f"{path} is empty; {SAVE_INSTEAD}")
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"cannot read the model {path}: {error.strerror or error}") from error
