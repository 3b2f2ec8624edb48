"""Reading a torch model from a file without ever running code that the file brings along as Python."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, get_args

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from oracles.errors import ModelError, one_line
from oracles.oracle import ImageShape
from oracles.torch_model import Output

Architecture: TypeAlias = Callable[[ImageShape, int], nn.Module]
Weights: TypeAlias = dict[str, torch.Tensor]

SAVE_INSTEAD = (
    "save torch.save(model.state_dict(), path), a .safetensors file, or torch.jit.save(torch.jit.script(model))"
)
_SHOWN = 3


@dataclass(frozen=True)
class Description:
    """What is known of a model besides its weights; None where nobody said.

    architecture: a name in the table of architectures. output: `logits` or `probabilities`.
    """

    architecture: str | None = None
    image_shape: ImageShape | None = None
    n_classes: int | None = None
    output: Output | None = None


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model out of a file, in eval mode, with what the file or the caller said of it.

    sha256: of the file's bytes, hexadecimal. name: the file's name without its suffix.
    """

    module: nn.Module
    image_shape: ImageShape | None
    n_classes: int | None
    output: Output | None
    sha256: str
    architecture: str | None
    name: str


def load_model(
    path: str | Path, architectures: Mapping[str, Architecture], told: Description = Description()
) -> LoadedModel:
    """Read a `.safetensors` file, a TorchScript archive, or a state_dict saved by `torch.save`.

    architectures: makes a model of (image_shape, n_classes), by name. told: fills in what the file does not say; plain
    weights need its architecture, image_shape and n_classes. A safetensors file may say them in its metadata, each as
    text: architecture, n_classes, image_shape as JSON, output. Raises ModelError on anything that cannot be read
    safely or does not fit, and where the file and `told` disagree.
    """
    path = Path(path)
    digest = _digest(path)
    module, known = _load(path, architectures, told)
    return LoadedModel(
        module.eval(), known.image_shape, known.n_classes, known.output, digest, known.architecture, path.stem
    )


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            if not file.peek(1):
                raise ModelError(f"{path} is empty; {SAVE_INSTEAD}")
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"cannot read the model {path}: {error.strerror or error}") from error


def _load(path: Path, architectures: Mapping[str, Architecture], told: Description) -> tuple[nn.Module, Description]:
    if path.suffix.lower() == ".safetensors":
        weights, metadata = _read_safetensors(path)
        known = _merged(path, _described(path, metadata), told)
        return _assembled(path, weights, architectures, known), known
    if _is_torchscript(path):
        return _read_torchscript(path), told
    return _assembled(path, _read_state_dict(path), architectures, told), told


def _read_safetensors(path: Path) -> tuple[Weights, dict[str, str]]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118 (no dict)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path} is damaged or no safetensors file: {one_line(error)}") from error


def _is_torchscript(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


def _read_torchscript(path: Path) -> nn.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a format that torch.export should follow, and cannot yet read
            load: Callable[..., nn.Module] = torch.jit.load
            return load(str(path), map_location="cpu")
    except Exception as error:
        raise ModelError(f"{path} is a TorchScript archive that cannot be loaded: {one_line(error)}") from error


def _read_state_dict(path: Path) -> Weights:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols; what cannot be read is told below, in one line
            stored: Any = torch.load(io.BytesIO(path.read_bytes()), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path} is damaged, or holds Python objects that only running code from the file could rebuild, which is "
            f"refused; {SAVE_INSTEAD}"
        ) from error
    except Exception as error:  # torch meets bytes that are no model with whatever its parser stumbles upon
        raise ModelError(f"{path} is damaged or no model file ({one_line(error)}); {SAVE_INSTEAD}") from error
    return _weights_in(path, stored)


def _weights_in(path: Path, stored: object) -> Weights:
    """The state_dict itself, or the one inside a training checkpoint; DataParallel's prefix is dropped."""
    for key in ("state_dict", "model_state_dict"):
        if isinstance(stored, dict) and isinstance(stored.get(key), dict):
            stored = stored[key]
    if not isinstance(stored, dict) or not stored or not all(isinstance(v, torch.Tensor) for v in stored.values()):
        raise ModelError(f"{path} holds a {type(stored).__name__}, not a state_dict of named tensors; {SAVE_INSTEAD}")
    weights = {str(name): tensor for name, tensor in stored.items()}
    if all(name.startswith("module.") for name in weights):
        return {name.removeprefix("module."): tensor for name, tensor in weights.items()}
    return weights


def _described(path: Path, metadata: dict[str, str]) -> Description:
    try:
        shape = json.loads(metadata["image_shape"]) if "image_shape" in metadata else None
        n_classes = json.loads(metadata["n_classes"]) if "n_classes" in metadata else None
        _check_numbers(shape, n_classes)
    except ValueError as error:
        raise ModelError(f"the metadata of {path} is wrong: {one_line(error)}") from error
    output: Any = metadata.get("output")
    if output is not None and output not in get_args(Output):
        raise ModelError(
            f"the metadata of {path} has output {output!r}; it must be one of {', '.join(get_args(Output))}"
        )
    return Description(metadata.get("architecture"), None if shape is None else tuple(shape), n_classes, output)


def _check_numbers(shape: object, n_classes: object) -> None:
    sizes = shape if isinstance(shape, list) else None
    if shape is not None and (sizes is None or len(sizes) != 3 or any(type(n) is not int or n < 1 for n in sizes)):
        raise ValueError(f"image_shape is {shape!r}, not [channels, height, width]")
    if n_classes is not None and (type(n_classes) is not int or n_classes < 2):
        raise ValueError(f"n_classes is {n_classes!r}, not 2 or more")


def _merged(path: Path, stated: Description, told: Description) -> Description:
    for name, value in vars(told).items():
        in_file = getattr(stated, name)
        if None not in (value, in_file) and value != in_file:
            raise ModelError(f"{path} says {name} is {in_file}, but it was given as {value}; leave it out")
    filled = {name: value if value is not None else getattr(told, name) for name, value in vars(stated).items()}
    return Description(**filled)


def _assembled(
    path: Path, weights: Weights, architectures: Mapping[str, Architecture], known: Description
) -> nn.Module:
    if known.architecture is None or known.image_shape is None or known.n_classes is None:
        missing = [name for name in ("architecture", "image_shape", "n_classes") if getattr(known, name) is None]
        raise ModelError(f"{path} holds weights alone; give {', '.join(missing)} with it")
    if known.architecture not in architectures:
        names = ", ".join(sorted(architectures)) or "none are known"
        raise ModelError(f"{path} needs the architecture {known.architecture!r}; known: {names}")
    try:
        module = architectures[known.architecture](known.image_shape, known.n_classes)
    except Exception as error:
        raise ModelError(f"cannot make a {known.architecture} for {path}: {one_line(error)}") from error
    _check_fit(path, known.architecture, weights, module.state_dict())
    try:
        module.load_state_dict(weights)
    except Exception as error:
        raise ModelError(f"cannot put the weights in {path} into a {known.architecture}: {one_line(error)}") from error
    return module


def _check_fit(path: Path, architecture: str, weights: Weights, wanted: Mapping[str, torch.Tensor]) -> None:
    problems = [
        ("missing", [name for name in wanted if name not in weights]),
        ("not expected", [name for name in weights if name not in wanted]),
        (
            "of another shape",
            [
                f"{name} {tuple(tensor.shape)} instead of {tuple(wanted[name].shape)}"
                for name, tensor in weights.items()
                if name in wanted and tensor.shape != wanted[name].shape
            ],
        ),
        ("not plain floats", [f"{name} ({_kind(w)})" for name, w in weights.items() if not _fits(w, wanted.get(name))]),
    ]
    found = [f"{what}: {_shortened(names)}" for what, names in problems if names]
    if found:
        raise ModelError(f"the weights in {path} do not fit {architecture}: {'; '.join(found)}")


def _fits(weight: torch.Tensor, wanted: torch.Tensor | None) -> bool:
    """Whether a plain copy keeps the values: integers or complex numbers would turn into other floats unseen."""
    floats = wanted is None or not wanted.is_floating_point() or weight.is_floating_point()
    return floats and weight.layout == torch.strided and not weight.is_quantized and not weight.is_meta


def _kind(weight: torch.Tensor) -> str:
    return f"{weight.dtype} {weight.layout} on {weight.device}".replace("torch.", "")


def _shortened(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
