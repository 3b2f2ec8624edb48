"""Makes an oracle from what the user names: a file, an entry of a zoo, a module, a function, or an oracle."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias, TypeGuard

import numpy as np
import torch
from torch import nn

from oracles.callable_model import callable_oracle
from oracles.errors import InvalidSpec, ModelError
from oracles.foreign import Answering
from oracles.model_files import Description, load_model
from oracles.model_files.description import LoadedModel, described
from oracles.model_files.loading import model_file
from oracles.model_files.weights import safetensors_metadata
from oracles.oracle import ImageShape, Oracle
from oracles.outside import OutsideFile
from oracles.remote.oracle import RemoteOracle
from oracles.remote.service import Reached
from oracles.remote.target import lacks_scheme
from oracles.torch_model import TorchOracle
from oracles.torch_options import TorchOptions
from simkit.data import ImageSet
from simkit.zoo.manifest import Manifest, weights_path
from simkit.zoo.networks import NETWORKS
from studies.scan.config import ScanConfig
from studies.scan.remote_models import check_remote, reached, remote_oracle, remote_sha256
from studies.scan.user_code import PREFIX, import_model, source_sha256

_ENTRY = re.compile(r"(.+):(\d+)")
_SHAPED = (".onnx", ".pt2")
"""Suffixes of graph files, most of which fix the size of their images."""

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_OF_TORCH = frozenset(vars(nn.Module())) | {"_initializing"}


@dataclass(frozen=True, eq=False)
class OpenedModel:
    """A model that can be queried.

    name: in the ledger. sha256: hash of the file or the weights, empty if unknown. libraries: names and versions of
    libraries besides torch that may change an answer. notes: see `LoadedModel`.
    """

    oracle: Oracle
    name: str
    sha256: str
    libraries: Mapping[str, str] = field(default_factory=dict)
    notes: str = ""


@dataclass(frozen=True, eq=False)
class ReadFile:
    """A model file that was read already, before the images complete its description."""

    path: Path
    loaded: LoadedModel


Model: TypeAlias = nn.Module | Oracle | Answering | Path | str | OutsideFile | ReadFile | Reached


def read_graph(model: Model, trusted: bool, nhwc: bool = False) -> Model:
    """The file, read into memory; graph files are also loaded, since they state their image shape only then.

    trusted, nhwc: see `load_model`.
    """
    if not isinstance(model, str | Path | OutsideFile) or str(model).startswith(PREFIX):
        return model
    file = _read(model)
    if file.path.suffix.lower() not in _SHAPED:
        return file
    return ReadFile(file.path, load_model(file, NETWORKS, trusted=trusted, nhwc=nhwc))


def _read(model: str | Path | OutsideFile) -> OutsideFile:
    return model if isinstance(model, OutsideFile) else model_file(model_path(model))


def open_model(model: Model, images: ImageSet, config: ScanConfig) -> OpenedModel:
    """Open `model`, and check it against the images without a query.

    model: a file, read or not, `DIR:7` for an entry of a zoo, a module, an oracle, a function (see `callable_oracle`),
    `python:package.module:name` of one of these three, or the address of a service (see `oracles.remote.remote`),
    reached already or not. Raises ModelError, which names both numbers where classes or shapes differ; DataError for a
    zoo without that entry; InvalidSpec for options that do not fit.
    """
    if isinstance(model, str) and model.startswith(PREFIX):
        opened = _open_python(model, images, config)
    elif isinstance(model := reached(model, config), Reached):
        opened = _remote_model(remote_oracle(model, images, config), config)
    elif isinstance(model, str | Path | OutsideFile | ReadFile):
        opened, _ = open_file(model, images, config)
        return opened
    else:
        opened = _open_object(model, images, config)
    return _fitting(opened, images, config)


def open_file(
    model: str | Path | OutsideFile | ReadFile, images: ImageSet, config: ScanConfig
) -> tuple[OpenedModel, nn.Module]:
    """The model of a file or of an entry of a zoo, and the torch module that was read. Raises as `open_model`."""
    _check_no_function(config)
    if isinstance(model, ReadFile):
        loaded = _completed(model.loaded, _assumed({}, images, config))
    else:
        model = _read(model)
        assumed = _assumed(safetensors_metadata(model), images, config)
        nhwc = config.input_layout == "nhwc"
        loaded = load_model(model, NETWORKS, assumed, trusted=config.trust_model, nhwc=nhwc)
    return _fitting(_file_oracle(model.path, loaded, images, config), images, config), loaded.module


def _fitting(opened: OpenedModel, images: ImageSet, config: ScanConfig) -> OpenedModel:
    _check_fit(opened, images)
    if config.n_classes not in (None, opened.oracle.n_classes):
        raise ModelError(
            f"{opened.name}: has {opened.oracle.n_classes} classes, but n_classes is {config.n_classes}; change that"
        )
    return opened


def stated_shape(model: Model, trusted: bool = False) -> ImageShape | None:
    """The shape (C, H, W) of a model's images, if the model states it; None otherwise.

    trusted: see `load_model`. An oracle states it, and an ONNX, torch.export or safetensors file may. Raises
    ModelError, DataError.
    """
    if isinstance(model, str) and model.startswith(PREFIX):
        model = import_model(model)
    if isinstance(model, Reached):
        return model.about.image_shape
    model = read_graph(model, trusted)
    if isinstance(model, ReadFile):
        return model.loaded.image_shape
    if isinstance(model, OutsideFile):
        return described(model.path, safetensors_metadata(model)).image_shape
    return model.image_shape if _is_oracle(model) else None


def _open_object(model: nn.Module | Oracle | Answering, images: ImageSet, config: ScanConfig) -> OpenedModel:
    name = config.name or str(getattr(model, "__name__", type(model).__name__))
    if isinstance(model, nn.Module):
        _check_no_function(config)
        oracle: Oracle = TorchOracle(model, images.image_shape, config.torch_options(None), _classes(images, config))
        return OpenedModel(oracle, name, module_sha256(model, config.name))
    if isinstance(model, RemoteOracle):
        check_remote(config)
        return _remote_model(model, config)
    if _is_oracle(model):
        _check_no_function(config)
        return OpenedModel(model, name, _named_sha256(model, config.name))
    if callable(model) and not isinstance(model, type):
        n_classes, options = _classes(images, config), config.torch_options(None)
        if n_classes is None:
            raise InvalidSpec(
                "neither a function nor images without labels state the number of classes; give n_classes"
            )
        oracle = callable_oracle(model, images.image_shape, n_classes, config.batch_limit, options)
        return OpenedModel(oracle, name, _named_sha256(model, config.name))
    raise ModelError(f"a {type(model).__name__} is no model; give a file, a torch module, a function, or an oracle")


def _remote_model(oracle: RemoteOracle, config: ScanConfig) -> OpenedModel:
    return OpenedModel(oracle, config.name or oracle.name, remote_sha256(oracle, config.name))


def _is_oracle(model: object) -> TypeGuard[Oracle]:
    return not isinstance(model, type) and all(hasattr(model, name) for name in ("query", "n_classes", "image_shape"))


def _open_python(address: str, images: ImageSet, config: ScanConfig) -> OpenedModel:
    model = import_model(address)
    opened = _open_object(model, images, config)
    weights = opened.sha256 if isinstance(model, nn.Module) else None
    sha256 = source_sha256(address, model, config.name, weights)
    return replace(opened, name=config.name or address, sha256=sha256)


def _classes(images: ImageSet, config: ScanConfig) -> int | None:
    """The number of classes stated by the images or by the caller; None if neither states it."""
    if images.n_classes and config.n_classes not in (None, images.n_classes):
        raise ModelError(f"n_classes is {config.n_classes}, but {images.name} has {images.n_classes}; leave it out")
    return images.n_classes or config.n_classes


def _check_no_function(config: ScanConfig) -> None:
    if config.batch_limit is not None:
        raise InvalidSpec("batch_limit applies to a function; set chunk, the number of images per forward pass")
    if config.output == "labels":
        raise InvalidSpec("output='labels' is for a function; leave it out, or wrap the model in a function")


def model_path(model: str | Path) -> Path:
    """The file that `model` names; for an entry of a zoo, this does not reveal the truth about it.

    Raises InvalidSpec for the address of a service without its scheme.
    """
    if isinstance(model, str) and lacks_scheme(model) and not Path(model).exists():
        raise InvalidSpec(f"there is no file {model!r}; if it is a service, write http:// (or https://) before it")
    entry = _ENTRY.fullmatch(str(model))
    if entry is None or Path(model).exists():
        return Path(model)
    victim = Manifest.load(entry[1]).victim(int(entry[2]))
    if victim.file is None:
        raise ModelError(f"{model}: the weights of this victim were not stored; see `simkit zoo list`")
    return weights_path(Path(entry[1]), victim)


def module_sha256(module: nn.Module, name: str | None = None) -> str:
    """A hash of types, printed form, plain attributes and state of all submodules, and of `name`.

    Plain attributes are numbers, text, booleans, tensors, arrays, and tuples, lists or dicts of them. TorchScript is
    covered completely. Code in `forward` and attributes of other types are not covered; use another name or a new
    ledger for models that differ only in these.
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
    """The bytes of a plain value, which differ for different values."""
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
        warnings.simplefilter("ignore")  # torch.jit is deprecated in favour of torch.export
        torch.jit.save(module, stream)
    with zipfile.ZipFile(stream) as archive:
        # without paths of source files, and without a number that differs between processes
        names = [name for name in archive.namelist() if not name.endswith((".debug_pkl", "serialization_id"))]
        return b"".join(name.encode() + archive.read(name) for name in sorted(names))


def _named_sha256(model: object, name: str | None) -> str:
    """The hash of the name that identifies an oracle or a function; its code is not covered."""
    return "" if name is None else hashlib.sha256(f"{type(model).__qualname__}\0{name}".encode()).hexdigest()


def _file_oracle(path: Path, loaded: LoadedModel, images: ImageSet, config: ScanConfig) -> OpenedModel:
    if loaded.image_shape is not None:
        _check_shape(str(path), loaded.image_shape, images)
    options = _in_batches(config.torch_options(loaded.output, loaded.takes_bytes), loaded.batch)
    oracle = TorchOracle(loaded.module, images.image_shape, options, loaded.n_classes)
    return OpenedModel(oracle, config.name or str(path), loaded.sha256, loaded.libraries, loaded.notes)


def _completed(loaded: LoadedModel, assumed: Description) -> LoadedModel:
    """The model with values that its file does not state filled in."""
    shape, n_classes = loaded.image_shape or assumed.image_shape, loaded.n_classes or assumed.n_classes
    return replace(loaded, image_shape=shape, n_classes=n_classes)


def _in_batches(options: TorchOptions, batch: int | None) -> TorchOptions:
    """The options with a chunk that is a multiple of the batch size, if the file fixes one."""
    return options if batch is None else replace(options, chunk=max(batch, options.chunk // batch * batch))


def _assumed(stated: Mapping[str, str], images: ImageSet, config: ScanConfig) -> Description:
    """What the file does not state, on the assumption that the model is for these images."""
    return Description(
        architecture=config.architecture,
        image_shape=None if "image_shape" in stated else images.image_shape,
        n_classes=None if "n_classes" in stated else _classes(images, config),
    )


def _check_fit(opened: OpenedModel, images: ImageSet) -> None:
    if images.n_classes not in (0, opened.oracle.n_classes):
        answers = opened.oracle.n_classes
        raise ModelError(
            f"{opened.name}: has {answers} classes, {'more' if answers > images.n_classes else 'fewer'} than the "
            f"{images.n_classes} of {images.name}; give the data set that the model was trained for"
        )
    _check_shape(opened.name, opened.oracle.image_shape, images)


def _check_shape(name: str, taken: ImageShape, images: ImageSet) -> None:
    if taken == images.image_shape:
        return
    resizable = taken[0] == images.image_shape[0] and taken[1] == taken[2]
    resize = f", or set image_size={taken[1]}" if resizable else ""
    if (taken[2], *taken[:2]) == images.image_shape:
        resize = ", or set input_layout=nhwc (--input-layout nhwc) if it takes (height, width, channels)"
    raise ModelError(
        f"{name}: takes images {taken}, but those of {images.name} are {images.image_shape}; give the data set that "
        f"the model was trained for{resize}"
    )
