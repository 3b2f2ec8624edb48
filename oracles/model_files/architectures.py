"""Untrained networks by name: simkit's own, torchvision's and timm's."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Mapping
from importlib.metadata import version
from types import ModuleType
from typing import Any, TypeAlias

from torch import nn

from oracles.errors import ModelError, one_line
from oracles.oracle import ImageShape

Architecture: TypeAlias = Callable[[ImageShape, int], nn.Module]

_EXTRAS = {"torchvision": "vision", "timm": "timm"}


def find_architecture(name: str, own: Mapping[str, Architecture]) -> Architecture:
    """The function that makes an untrained module from (image_shape, n_classes); nothing is ever downloaded.

    name: a key of `own`, `torchvision:resnet18`, or `timm:resnet18`. Raises ModelError, with the nearest names if there
    is no such architecture, and with what to install if the library cannot be loaded.
    """
    library, colon, inner = name.partition(":")
    if colon and library in _EXTRAS:
        module = _imported(library)
        return (_of_torchvision if library == "torchvision" else _of_timm)(module, inner)
    if name not in own:
        others = "; or torchvision:NAME, timm:NAME"
        raise ModelError(f"no architecture {name!r}; known: {', '.join(sorted(own)) or 'none'}{others}")
    return own[name]


def library_of(name: str | None) -> dict[str, str]:
    """The library that an architecture comes from, with its version; empty for simkit's own."""
    library = (name or "").partition(":")[0]
    return {library: version(library)} if library in _EXTRAS else {}


def _imported(library: str) -> ModuleType:
    extra = f"pip install 'b3d-simkit[{_EXTRAS[library]}]'"
    try:
        return importlib.import_module(library)
    except ModuleNotFoundError as error:
        raise ModelError(f"{library} architectures need {error.name}: {extra}") from error
    except Exception as error:  # a torchvision built for another torch fails while registering its operators
        raise ModelError(
            f"{library} cannot be loaded ({one_line(error)}): torchvision and torch must come from the same index, "
            f"both for CUDA or both for CPU; reinstall both: {extra}"
        ) from error


def _of_torchvision(torchvision: ModuleType, name: str) -> Architecture:
    models: Any = torchvision.models
    _check_listed(f"torchvision:{name}", name, models.list_models(module=models))

    def make(image_shape: ImageShape, n_classes: int) -> nn.Module:
        module: nn.Module = models.get_model(name, weights=None, num_classes=n_classes)
        return module

    return make


def _of_timm(timm: Any, name: str) -> Architecture:
    _check_listed(f"timm:{name}", name, timm.list_models())

    def make(image_shape: ImageShape, n_classes: int) -> nn.Module:
        module: nn.Module = timm.create_model(name, pretrained=False, num_classes=n_classes, in_chans=image_shape[0])
        return module

    return make


def _check_listed(full: str, name: str, listed: list[str]) -> None:
    if name not in listed:
        near = ", ".join(difflib.get_close_matches(name, listed)) or "none"
        raise ModelError(f"no architecture {full!r}; nearest: {near}")
