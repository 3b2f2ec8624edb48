"""Loads weights into the architecture that they belong to, after a check of names, shapes and types."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from oracles.errors import ModelError, one_line
from oracles.model_files.architectures import Architecture, find_architecture
from oracles.model_files.checkpoints import Weights, named_for, nearest, shortened
from oracles.model_files.description import Description
from oracles.oracle import ImageShape

_COMMON = tuple(
    f"torchvision:{name}"
    for name in (
        "resnet18",
        "resnet34",
        "resnet50",
        "vgg11_bn",
        "vgg16",
        "mobilenet_v2",
        "densenet121",
        "efficientnet_b0",
    )
)
"""Architectures that are recommended to whoever gave another one."""


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
    outline = _outline(make, description.image_shape, description.n_classes)
    if outline is not None:  # a file may ask for a network of any size: its weights are compared before it is made
        _check_fit(path, description, named_for(weights, outline), outline, own)
    try:
        module = make(description.image_shape, description.n_classes)
    except Exception as error:
        raise ModelError(f"cannot make a {description.architecture} for {path}: {one_line(error)}") from error
    named = named_for(weights, module.state_dict())
    _check_fit(path, description, named, module.state_dict(), own)
    try:
        module.load_state_dict(named)
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


def _outline(make: Architecture, image_shape: ImageShape, n_classes: int) -> Mapping[str, torch.Tensor] | None:
    """The names and shapes of the weights, without memory for them; None for a network that cannot be made so."""
    try:
        with torch.device("meta"):
            return make(image_shape, n_classes).state_dict()
    except Exception:  # a network that computes with its weights while it is made; making it reports other problems
        return None


def _check_fit(
    path: Path,
    description: Description,
    weights: Weights,
    wanted: Mapping[str, torch.Tensor],
    own: Mapping[str, Architecture],
) -> None:
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
    misfits = [f"{what}: {shortened(names)}" for what, names in problems if names]
    if misfits:
        near = nearest(weights, _outlines(own, description))
        hint = f"; the nearest architecture is {near}" if near not in (None, description.architecture) else ""
        hint += _classes_of(weights, wanted, description)
        held = f"{len(weights)} tensors are there: {shortened(list(weights))}"
        raise ModelError(
            f"the weights in {path} do not fit {description.architecture}: {'; '.join(misfits)}; {held}{hint}"
        )


def _classes_of(weights: Weights, wanted: Mapping[str, torch.Tensor], description: Description) -> str:
    """What is said where only the last layer has another size: the file's number of classes; empty otherwise."""
    other = [n for n in weights if n not in wanted or weights[n].shape != wanted[n].shape]
    sizes = {(len(weights[n]), len(wanted[n])) for n in other if n in wanted and weights[n].ndim and wanted[n].ndim}
    if len(other) > 2 or any(n not in wanted for n in other) or len(sizes) != 1:
        return ""
    ((there, here),) = sizes
    if here != description.n_classes or here == there:
        return ""
    than = "more" if there > here else "fewer"
    return f"; the file has {there} classes, {than} than the {here} of the data: give the data that it was trained for"


def _outlines(own: Mapping[str, Architecture], description: Description) -> dict[str, Mapping[str, torch.Tensor]]:
    """The weights of the architectures that a message may recommend."""
    assert description.image_shape is not None
    assert description.n_classes is not None
    found: dict[str, Mapping[str, torch.Tensor]] = {}
    for name in (*own, *_COMMON):
        try:
            outline = _outline(find_architecture(name, own), description.image_shape, description.n_classes)
        except ModelError:
            continue  # torchvision is not installed
        if outline is not None:
            found[name] = outline
    return found


def _fits(weight: torch.Tensor, wanted: torch.Tensor | None) -> bool:
    """Whether copying keeps the values; integers and complex numbers would silently become other floats."""
    floats = wanted is None or not wanted.is_floating_point() or weight.is_floating_point()
    return floats and weight.layout == torch.strided and not weight.is_quantized and not weight.is_meta


def _kind(weight: torch.Tensor) -> str:
    return f"{weight.dtype} {weight.layout} on {weight.device}".replace("torch.", "")
