"""From what the user names to an oracle: a file, an entry of a zoo, a module in memory, or an oracle."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from oracles.errors import ModelError
from oracles.model_files import Description, load_model
from oracles.oracle import Oracle
from oracles.torch_model import TorchOracle
from simkit.data import ImageSet
from simkit.zoo.manifest import Manifest
from simkit.zoo.networks import NETWORKS
from studies.scan_config import ScanConfig

Model: TypeAlias = nn.Module | Oracle | Path | str

_ENTRY = re.compile(r"(.+):(\d+)")


@dataclass(frozen=True, eq=False)
class OpenedModel:
    """A model that can be asked. name: for the ledger. sha256: of the file or the weights, empty if unknown."""

    oracle: Oracle
    name: str
    sha256: str


def open_model(model: Model, images: ImageSet, config: ScanConfig) -> OpenedModel:
    """The model behind `model`, checked against the images without sending one.

    model: a file, `DIR:7` for an entry of a zoo, a module, or an oracle. Raises ModelError, naming both numbers where
    classes or shapes differ; DataError for a zoo without such an entry; InvalidSpec for options that do not fit.
    """
    if isinstance(model, nn.Module):
        sha256 = module_sha256(model)
        name = config.name or type(model).__name__
        oracle: Oracle = TorchOracle(model, images.image_shape, config.torch_options(None), images.n_classes)
        opened = OpenedModel(oracle, name, sha256)
    elif isinstance(model, str | Path):
        opened = _open_file(model_path(model), images, config)
    elif callable(getattr(model, "query", None)):
        opened = OpenedModel(model, config.name or type(model).__name__, _oracle_sha256(model, config.name))
    else:
        raise ModelError(f"a {type(model).__name__} is no model; give a file, a torch module, or an oracle")
    _check_fit(opened, images)
    return opened


def model_path(model: str | Path) -> Path:
    """The file that `model` names; the truth about an entry of a zoo is not looked at."""
    entry = _ENTRY.fullmatch(str(model))
    if entry is None or Path(model).exists():
        return Path(model)
    victim = Manifest.load(entry[1]).victim(int(entry[2]))
    if victim.file is None:
        raise ModelError(f"{model}: the weights of this victim were not kept; see `simkit zoo list`")
    return Path(entry[1]) / victim.file


def module_sha256(module: nn.Module) -> str:
    """A hash of the names and types of all modules and of the state: equal models give equal hashes."""
    digest = hashlib.sha256()
    for name, part in module.named_modules():
        digest.update(f"{name}\0{type(part).__module__}.{type(part).__qualname__}\0".encode())
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name}\0{getattr(value, 'dtype', '')}\0{tuple(getattr(value, 'shape', ()))}\0".encode())
        digest.update(_bytes(value))
    return digest.hexdigest()


def _bytes(value: object) -> bytes:
    if not isinstance(value, torch.Tensor):
        return repr(value).encode()
    flat = value.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes()


def _oracle_sha256(oracle: Oracle, name: str | None) -> str:
    return "" if name is None else hashlib.sha256(f"{type(oracle).__qualname__}\0{name}".encode()).hexdigest()


def _open_file(path: Path, images: ImageSet, config: ScanConfig) -> OpenedModel:
    loaded = load_model(path, NETWORKS, _told(path, images, config))
    if loaded.image_shape not in (None, images.image_shape):
        raise ModelError(
            f"{path}: takes images {loaded.image_shape}, but those of {images.name} are {images.image_shape}"
        )
    options = config.torch_options(loaded.output)
    oracle = TorchOracle(loaded.module, images.image_shape, options, loaded.n_classes)
    return OpenedModel(oracle, config.name or str(path), loaded.sha256)


def _told(path: Path, images: ImageSet, config: ScanConfig) -> Description:
    """What the file does not say: then the model must be one for these images."""
    stated = _stated(path)
    return Description(
        architecture=config.architecture,
        image_shape=None if "image_shape" in stated else images.image_shape,
        n_classes=None if "n_classes" in stated else images.n_classes,
    )


def _stated(path: Path) -> set[str]:
    if path.suffix.lower() != ".safetensors":
        return set()
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return set(file.metadata() or {})
    except (SafetensorError, OSError, ValueError):
        return set()  # the one who reads the weights tells what is wrong


def _check_fit(opened: OpenedModel, images: ImageSet) -> None:
    if opened.oracle.n_classes != images.n_classes:
        raise ModelError(
            f"{opened.name}: answers {opened.oracle.n_classes} classes, but {images.name} has {images.n_classes}; "
            "give the data set that the model is for"
        )
    if opened.oracle.image_shape != images.image_shape:
        raise ModelError(
            f"{opened.name}: takes images {opened.oracle.image_shape}, but those of {images.name} are "
            f"{images.image_shape}; give the data set that the model is for"
        )
