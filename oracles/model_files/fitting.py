"""Loads weights into the architecture that they belong to, after a check of names, shapes and types."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import torch
from torch import nn

from oracles.errors import ModelError, one_line
from oracles.model_files.architectures import Architecture, find_architecture
from oracles.model_files.description import Description

Weights: TypeAlias = dict[str, torch.Tensor]

_SHOWN = 3


def assembled(path: Path, weights: Weights, own: Mapping[str, Architecture], description: Description) -> nn.Module:
    """A module of the described architecture with these weights.

    Raises ModelError if the description is incomplete, and lists missing keys, unexpected keys and wrong shapes.
    """
    if description.architecture is None or description.image_shape is None or description.n_classes is None:
        raise ModelError(f"{path} holds only weights; {_wanted(own, description)}")
    try:
        make = find_architecture(description.architecture, own)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    try:
        module = make(description.image_shape, description.n_classes)
    except Exception as error:
        raise ModelError(f"cannot make a {description.architecture} for {path}: {one_line(error)}") from error
    _check_fit(path, description.architecture, weights, module.state_dict())
    try:
        module.load_state_dict(weights)
    except Exception as error:
        raise ModelError(
            f"cannot put the weights in {path} into a {description.architecture}: {one_line(error)}"
        ) from error
    return module


def _wanted(own: Mapping[str, Architecture], description: Description) -> str:
    """Which settings are missing besides the weights, and what could be given instead."""
    missing = [name for name in ("image_shape", "n_classes") if getattr(description, name) is None]
    if description.architecture is not None:
        return f"give {', '.join(missing)} with it"
    names = ", ".join((*sorted(own), "torchvision:NAME", "timm:NAME"))
    more = f" and {', '.join(missing)}" if missing else ""
    return f"give --architecture NAME ({names}){more}, or save a network of your own as TorchScript, .pt2 or ONNX"


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
    misfits = [f"{what}: {_shortened(names)}" for what, names in problems if names]
    if misfits:
        raise ModelError(f"the weights in {path} do not fit {architecture}: {'; '.join(misfits)}")


def _fits(weight: torch.Tensor, wanted: torch.Tensor | None) -> bool:
    """Whether copying keeps the values; integers and complex numbers would silently become other floats."""
    floats = wanted is None or not wanted.is_floating_point() or weight.is_floating_point()
    return floats and weight.layout == torch.strided and not weight.is_quantized and not weight.is_meta


def _kind(weight: torch.Tensor) -> str:
    return f"{weight.dtype} {weight.layout} on {weight.device}".replace("torch.", "")


def _shortened(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
