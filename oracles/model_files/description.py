"""The description of a model in a file: what is known about it besides its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from torch import nn

from oracles.errors import ModelError, one_line
from oracles.oracle import ImageShape
from oracles.torch_options import Output

SAVE_INSTEAD = (
    "save torch.save(model.state_dict(), path), a .safetensors file, or torch.jit.save(torch.jit.script(model))"
)


@dataclass(frozen=True)
class Description:
    """What is known about a model besides its weights; None where it is unknown.

    architecture: a name, see `find_architecture`. output: `logits` or `probabilities`.
    """

    architecture: str | None = None
    image_shape: ImageShape | None = None
    n_classes: int | None = None
    output: Output | None = None


NOTHING_GIVEN = Description()


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model read from a file, in eval mode, with what the file or the caller states about it.

    sha256: hash of the file's bytes, hexadecimal. name: the file's name without its suffix. batch: the number of images
    per forward pass, where the file fixes it; smaller batches are filled up. libraries: names and versions of the
    libraries besides torch that may change an answer. notes: what protected this process less from the file than it
    should; empty if nothing did. takes_bytes: its graph states that it takes uint8.
    """

    module: nn.Module
    image_shape: ImageShape | None
    n_classes: int | None
    output: Output | None
    sha256: str
    architecture: str | None
    name: str
    batch: int | None = None
    libraries: Mapping[str, str] = field(default_factory=dict)
    notes: str = ""
    takes_bytes: bool = False


def described(path: Path, metadata: Mapping[str, str]) -> Description:
    """The description in the metadata of a safetensors file. Raises ModelError."""
    try:
        shape = json.loads(metadata["image_shape"]) if "image_shape" in metadata else None
        n_classes = json.loads(metadata["n_classes"]) if "n_classes" in metadata else None
        _check_numbers(shape, n_classes)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"the metadata of {path} is wrong: {one_line(error)}") from error
    output: Any = metadata.get("output")
    if output is not None and output not in get_args(Output):
        raise ModelError(
            f"the metadata of {path} has output {output!r}; it must be one of {', '.join(get_args(Output))}"
        )
    return Description(metadata.get("architecture"), None if shape is None else tuple(shape), n_classes, output)


def completed(stated: Description, given: Description) -> Description:
    """What the file states, and what the caller gave where the file states nothing."""
    filled = {name: value if value is not None else getattr(given, name) for name, value in vars(stated).items()}
    return Description(**filled)


def merged(path: Path, stated: Description, given: Description) -> Description:
    """Like `completed`, but raises ModelError where the two disagree."""
    for name, value in vars(given).items():
        in_file = getattr(stated, name)
        if None not in (value, in_file) and value != in_file:
            raise ModelError(f"{path} says {name} is {in_file}, but it was given as {value}; leave it out")
    return completed(stated, given)


def _check_numbers(shape: object, n_classes: object) -> None:
    sizes = shape if isinstance(shape, list) else None
    if shape is not None and (sizes is None or len(sizes) != 3 or any(type(n) is not int or n < 1 for n in sizes)):
        raise ValueError(f"image_shape is {shape!r}, not [channels, height, width]")
    if n_classes is not None and (type(n_classes) is not int or n_classes < 2):
        raise ValueError(f"n_classes is {n_classes!r}, not 2 or more")
