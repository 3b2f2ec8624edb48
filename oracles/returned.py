"""What a model returns, as one row per image: the scores among several outputs, one number as two classes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from oracles.errors import ModelError
from oracles.torch_options import Output, TorchOptions

_FIXED = "or set chunk, if it takes a fixed number of images at a time"
_SHOWN = 8

_ONE = (
    "the model answers one number per image; if that is the probability of the second of two classes (a sigmoid), set "
    "output=probabilities (--output probabilities), and output=logits if it is its logit; if these are class numbers "
    "of a function, set output='labels'"
)


def rows_of(returned: object, images: int, options: TorchOptions, n_classes: int) -> torch.Tensor:
    """The rows, float32 (N, T) on the CPU, in what a model returned for so many images.

    n_classes: T, -1 if it is unknown. Raises ModelError, which names the option where one is needed.
    """
    rows = _per_image(_picked(returned, options.output_item), images)
    if rows.ndim != 2 or len(rows) != images:
        raise ModelError(_wrong_rows(rows.shape, images))
    if rows.shape[1] == 1:
        rows = _two_classes(rows, options)
    if n_classes not in (-1, rows.shape[1]):
        numbers = ", or output='labels' if these are class numbers" if bool((rows == rows.round()).all()) else ""
        raise ModelError(too_many_or_few(rows.shape[1], n_classes) + numbers)
    return rows.to(device="cpu", dtype=torch.float32)


def tensors_in(returned: object) -> dict[str, torch.Tensor]:
    """The tensors in a tuple or list by their position, or in a dict by their key; empty for anything else."""
    if isinstance(returned, Mapping):
        named = [(str(name), value) for name, value in returned.items()]
    elif isinstance(returned, Sequence) and not isinstance(returned, str):
        named = [(str(place), value) for place, value in enumerate(returned)]
    else:
        return {}
    return {name: value for name, value in named if isinstance(value, torch.Tensor)}


def classes_in(sizes: Sequence[object]) -> int | None:
    """The number of classes in an answer of these sizes (N, T) or (N, T, 1, 1); None where they do not fix it."""
    wide = [size for size in sizes[1:] if size != 1]
    return wide[0] if len(wide) == 1 and isinstance(wide[0], int) and wide[0] > 1 else None


def classes_of_width(width: int, output: Output) -> int:
    """The number of classes behind rows of so many numbers. Raises ModelError for one of unknown meaning."""
    if width == 1 and output == "auto":
        raise ModelError(_ONE)
    return 2 if width == 1 else width


def too_many_or_few(answered: int, n_classes: int) -> str:
    """The error for a number of scores that is not that of the data's classes."""
    than = "more" if answered > n_classes else "fewer"
    from_one = " (do its labels start at 1? then subtract 1 from each)" if answered == n_classes - 1 else ""
    return (
        f"the model answers {answered} scores per image, {than} than the {n_classes} classes of the data{from_one}; "
        "give the data set that it was trained for, or the right n_classes"
    )


def _picked(returned: object, item: str | None) -> torch.Tensor:
    if isinstance(returned, torch.Tensor):
        if item is not None:
            raise ModelError(f"the model answers one tensor, which has no item {item!r}; leave out output_item")
        return returned
    tensors = tensors_in(returned)
    if not tensors:
        kind = type(returned).__name__
        raise ModelError(f"the model answers a {kind}; wrap it so that it returns one tensor (N, classes)")
    if item in tensors:
        return tensors[item]
    if item is None and len(tensors) == 1:
        return next(iter(tensors.values()))
    if item is not None and item.isdecimal() and int(item) < len(tensors):
        return list(tensors.values())[int(item)]
    shown = ", ".join(f"{name[:40]} {_sizes(tensor)}" for name, tensor in list(tensors.items())[:_SHOWN])
    said = f"the model answers {len(tensors)} tensors: {shown}"
    if item is not None:
        raise ModelError(f"{said}, and no {item!r}; set output_item to the one with the scores")
    raise ModelError(f"{said}; say by name or position which one has the scores: set output_item (--output-item 0)")


def _sizes(tensor: torch.Tensor) -> str:
    return f"({', '.join(['N', *map(str, tensor.shape[1:])])})"


def _per_image(rows: torch.Tensor, images: int) -> torch.Tensor:
    """One row per image, where only one axis besides that of the images is longer than 1."""
    if rows.ndim < 2 and rows.numel() == images:
        return rows.reshape(images, 1)
    if rows.ndim > 2 and sum(size != 1 for size in rows.shape[1:]) <= 1:
        return rows.reshape(len(rows), math.prod(rows.shape[1:]))
    return rows


def _two_classes(rows: torch.Tensor, options: TorchOptions) -> torch.Tensor:
    """The rows (N, 2) for the probability, or the logit, of class 1."""
    if not rows.is_floating_point():
        instead = "give the model without its argmax, so that it answers scores"
        if options.output_item is not None:
            instead = f"set output_item to the one with the scores, it is {options.output_item!r}"
        kind = str(rows.dtype).removeprefix("torch.")
        raise ModelError(f"the model answers one {kind} per image; if those are class numbers, {instead}")
    classes_of_width(1, options.output)
    rows = rows.float()
    return torch.cat([1.0 - rows if options.output == "probabilities" else torch.zeros_like(rows), rows], dim=1)


def _wrong_rows(shape: torch.Size, images: int) -> str:
    if images:
        return f"the model answers {tuple(shape)} for {images} images; it must be ({images}, classes), {_FIXED}"
    if len(shape) == 2:
        return f"the model always answers {shape[0]} rows; set chunk to the number of images that it takes at a time"
    sizes = ", ".join(["N", *map(str, shape[1:])])
    return f"the model answers ({sizes}) for N images; wrap it so that it answers (N, classes)"
