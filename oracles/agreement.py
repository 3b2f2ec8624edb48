"""What a local model answers on a few images before anything is paid: twice, in another batch, and as it is.

So it shows at once whether an answer depends on chance (dropout) or on its neighbours (batch normalisation in training
mode), and whether our faster form of the model gives the model's own answers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch

from oracles.errors import ModelError

Rows: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
"""The rows (N, T) of a form of the model for images (N, C, H, W). Raises ModelError."""

IMAGES = 8
"""Images that are asked about."""

_TOLERANCE = 1e-3
"""Relative difference of answers that are the same: far above what folding, another layout or another batch size round
differently in float32, far below what dropout changes (ours)."""


def distance(rows: torch.Tensor, own: torch.Tensor) -> float:
    """The largest difference of two answers (N, T), relative to the largest number of `own` or 1; NaN equals NaN."""
    both = torch.stack([rows, own]).nan_to_num(nan=0.0, posinf=1e30, neginf=-1e30)
    if bool((rows.isnan() != own.isnan()).any()):
        return float("inf")
    return float((both[0] - both[1]).abs().max() / both[1].abs().max().clamp(min=1.0))


def faithful(fast: Rows, own: Rows, images: torch.Tensor, *, by_chance: bool) -> str:
    """Why the fast form must not stand for the model; empty if it gives its answers, or the model as it is fails.

    by_chance: the model answers the same images differently each time, so that a difference shows nothing.
    """
    try:
        expected = own(images)
    except ModelError:
        return ""
    try:
        apart = distance(fast(images), expected)
    except ModelError:
        return "its faster form fails"
    return f"the answers of its faster form differ by {apart:.2g}" if apart > _TOLERANCE and not by_chance else ""


def unsteady(rows: Rows, images: torch.Tensor) -> tuple[bool, str]:
    """Whether answers depend on chance, and the note about those that do, or depend on neighbours. Raises ModelError.

    A few images are asked about again without the first, so that they have other neighbours in a batch of any size.
    """
    first, again = rows(images), rows(images)
    some = slice(1, 1 + max(1, len(images) // 2))
    moved = rows(images[some])
    if (apart := distance(again, first)) > _TOLERANCE:
        said = f"the model answers the same images differently each time (by {apart:.2g}), as dropout in training mode"
        return True, said
    if (apart := distance(moved, first[some])) > _TOLERANCE:
        why = "as batch normalisation in training mode"
        return False, f"the model's answer to an image depends on the other images of its batch (by {apart:.2g}), {why}"
    return False, ""


def check_images(images: torch.Tensor) -> torch.Tensor:
    """The first few of these images, float32 (N, C, H, W); noise in [0, 1] if they are blank."""
    some = images[:IMAGES]
    if bool(some.amin() < some.amax()):
        return some
    return torch.rand((IMAGES, *images.shape[1:]), generator=torch.Generator().manual_seed(0))
