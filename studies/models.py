"""From what the user names to an oracle: a file, an entry of a zoo, a module in memory, or an oracle."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
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
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_OF_TORCH = frozenset(vars(nn.Module())) | {"_initializing"}


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
        sha256 = module_sha256(model, config.name)
        name = config.name or type(model).__name__
        oracle: Oracle = TorchOracle(model, images.image_shape, config.torch_options(None), images.n_classes or None)
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


def module_sha256(module: nn.Module, name: str | None = None) -> str:
    """A hash of types, printed form, plain attributes and state of all modules, and of `name`: equal ones agree.

    Plain: numbers, text, flags, tensors, arrays, and tuples, lists or dicts of them; of TorchScript all of it. Not
    covered: code inside `forward`, and attributes of other types. Give another name, or a fresh ledger, to models that
    differ in nothing else.
    """
    digest = hashlib.sha256(f"{name!r}\0{_ADDRESS.sub('', repr(module))}\0".encode())
    for part_name, part in module.named_modules():
        digest.update(f"{part_name}\0{type(part).__module__}.{type(part).__qualname__}\0".encode())
        for attribute, value in sorted(vars(part).items()):
            if attribute not in _OF_TORCH and _is_plain(value):
                digest.update(f"{attribute}\0".encode() + _bytes(value))
    for entry, value in sorted(module.state_dict().items()):
        digest.update(f"{entry}\0".encode() + _bytes(value))
    if isinstance(module, torch.jit.ScriptModule):
        digest.update(_script_bytes(module))
    return digest.hexdigest()


def _is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(map(_is_plain, (*value.keys(), *value.values())))
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str | torch.Tensor | np.ndarray | np.generic)


def _bytes(value: object) -> bytes:
    """Bytes of a plain value that no other plain value has."""
    if isinstance(value, dict):
        return b"{%b}" % b"".join(_bytes(key) + _bytes(held) for key, held in value.items())
    if isinstance(value, tuple | list):
        return b"(%b)" % b"".join(map(_bytes, value))
    if isinstance(value, torch.Tensor):
        flat = value.detach().cpu().contiguous().reshape(-1)
        return f"{value.dtype}{tuple(value.shape)}\0".encode() + flat.view(torch.uint8).numpy().tobytes()
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}\0".encode() + value.tobytes()
    return f"{value!r}\0".encode()


def _script_bytes(module: torch.jit.ScriptModule) -> bytes:
    """The code and values of TorchScript, which are not among a module's Python attributes."""
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a format that torch.export should follow
        torch.jit.save(module, stream)
    with zipfile.ZipFile(stream) as archive:
        # without the paths of source files, and a number that differs from process to process
        names = [name for name in archive.namelist() if not name.endswith((".debug_pkl", "serialization_id"))]
        return b"".join(name.encode() + archive.read(name) for name in sorted(names))


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
        n_classes=None if "n_classes" in stated else images.n_classes or None,
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
    if images.n_classes not in (0, opened.oracle.n_classes):
        raise ModelError(
            f"{opened.name}: answers {opened.oracle.n_classes} classes, but {images.name} has {images.n_classes}; "
            "give the data set that the model is for"
        )
    if opened.oracle.image_shape != images.image_shape:
        raise ModelError(
            f"{opened.name}: takes images {opened.oracle.image_shape}, but those of {images.name} are "
            f"{images.image_shape}; give the data set that the model is for"
        )
