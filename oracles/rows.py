"""Whether a model's rows are logits or probabilities, told from the numbers, and how odd rows are treated.

A row is taken for probabilities if it is not negative and sums to about one. How far from one is derived from what the
numbers show of their precision: decimals (rounded or truncated), float16 or bfloat16, and zeros in place of what a
service leaves out (top-k, thresholds), none of which can be larger than the smallest score that it shows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

_DECIMALS = range(6, 0, -1)
_KINDS = {torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
_FLOAT32 = 2.0**-23
_ENOUGH = 0.9
"""Share of the rows of the first answer that must be probabilities, so that one odd row does not decide (ours)."""

_EXACT = 1e-3

NOISE = 0.25
"""How far beyond [0, 1] numbers may lie that a service adds noise to; logits go further (ours)."""

SCALES = (100.0, 255.0)
"""Sums of probabilities that are answered as percentages or as bytes."""

_ROUNDED = 0.02
"""How far, at most, rounding moves the sum of such a row, relative to its scale (ours)."""


@dataclass(frozen=True)
class Evidence:
    """What the rows of an answer show.

    rows: how many. lowest, highest: of their sums. step: the precision they show, in words. filled: whether zeros stand
    for classes that were left out. scale: the constant sum of rows of percentages or bytes, otherwise 1. least,
    greatest: of their numbers.
    """

    rows: int
    probabilities: bool
    lowest: float
    highest: float
    step: str
    filled: bool
    scale: float
    least: float
    greatest: float

    def __str__(self) -> str:
        sums = f"{self.rows} rows, sums {self.lowest:.3g} to {self.highest:.3g}"
        shown = "; ".join(filter(None, (self.step, "zeros in place of some classes" if self.filled else "")))
        return f"{sums}{f' ({shown})' if self.probabilities and shown else ''}"

    @property
    def exact(self) -> bool:
        """Whether all rows sum to one without any allowance for what was rounded or left out."""
        return not self.filled and max(1.0 - self.lowest, self.highest - 1.0) <= _EXACT


def visible_steps(rows: torch.Tensor) -> torch.Tensor:
    """For each row (N, T) the distance of neighbouring numbers that it shows, float32 (N,), 0 where it shows none."""
    steps = torch.zeros(len(rows))
    for kind, step in _KINDS.items():
        steps[(rows.to(kind).float() == rows).all(dim=1)] = step
    for decimals in _DECIMALS:
        scaled = rows.double() * 10.0**decimals
        off = (scaled - scaled.round()).abs()
        fits = (off <= max(1e-3, 2 * _FLOAT32 * 10.0**decimals)).all(dim=1)
        steps[fits] = steps[fits].clamp(min=10.0**-decimals)
    return steps


def _in_words(steps: torch.Tensor) -> str:
    """The most frequent of these steps; empty if that is none."""
    step = float(steps.mode().values)
    named = {float(torch.tensor(size)): str(kind).removeprefix("torch.") for kind, size in _KINDS.items()}
    if not step or step in named:
        return named.get(step, "")
    decimals = round(-math.log10(step))
    return f"{decimals} decimal{'s' if decimals > 1 else ''}"


def are_probabilities(rows: torch.Tensor, steps: torch.Tensor, tolerance: float) -> torch.Tensor:
    """For each row (N, T) whether it is probabilities, bool (N,). steps: see `visible_steps`; tolerance: of exact sums.

    With a fixed step every number shown may be up to half a step too large, and every number up to a step too small
    (truncated); relative steps (bfloat16, float16) are covered by the same bounds, since no number exceeds one.
    """
    shown = rows > 0
    sums, count = rows.sum(dim=1), shown.sum(dim=1)
    smallest = torch.where(shown, rows, 1.0).amin(dim=1)
    hidden = (rows.shape[1] - count) * smallest  # what is left out is no larger than the least that is shown
    above = sums <= 1.0 + tolerance + steps * count / 2
    below = sums + hidden + steps * rows.shape[1] >= 1.0 - tolerance
    return in_unit_range(rows, tolerance + steps) & above & below & (count > 0)


def in_unit_range(rows: torch.Tensor, tolerance: torch.Tensor) -> torch.Tensor:
    """For each row (N, T) whether all its numbers lie in [0, 1] but for its tolerance (N,), bool (N,)."""
    return (rows.amin(dim=1) >= -tolerance) & (rows.amax(dim=1) <= 1.0 + tolerance)


def evidence(rows: torch.Tensor, tolerance: float) -> Evidence | None:
    """What the finite rows (N, T) show; None where they show nothing, being all zeros or none."""
    rows = rows[(rows != 0).any(dim=1)]
    if not len(rows):
        return None
    steps, sums = visible_steps(rows), rows.sum(dim=1)
    fits = are_probabilities(rows, steps, tolerance)
    probable = bool(in_unit_range(rows, tolerance + steps).all()) and float(fits.float().mean()) >= _ENOUGH
    filled = probable and bool((sums < 1.0 - tolerance - steps * rows.shape[1]).any())
    scale = 1.0 if probable else _scale(rows, tolerance)
    words, ends = _in_words(steps), (float(rows.min()), float(rows.max()))
    return Evidence(len(rows), probable, float(sums.min()), float(sums.max()), words, filled, scale, *ends)


def _scale(rows: torch.Tensor, tolerance: float) -> float:
    """The constant sum of the rows (N, T), if it is one of SCALES and no number is negative; otherwise 1."""
    for scale in SCALES if bool((rows >= 0).all()) else ():
        rounded = (_scaled_steps(rows, scale) * rows.shape[1] / 2).clamp(max=_ROUNDED)
        fits = (rows.sum(dim=1) / scale - 1.0).abs() <= tolerance + rounded
        if float(fits.float().mean()) >= _ENOUGH:
            return scale
    return 1.0


def _scaled_steps(rows: torch.Tensor, scale: float) -> torch.Tensor:
    """As `visible_steps`, of the rows divided by `scale`; whole numbers have a step of 1 before that."""
    if scale == 1.0:
        return visible_steps(rows)
    return torch.where((rows == rows.round()).all(dim=1), torch.ones(len(rows)), visible_steps(rows)) / scale


def as_probabilities(rows: torch.Tensor, tolerance: float, scale: float = 1.0) -> tuple[torch.Tensor, int]:
    """The rows (N, T) as scores in [0, 1], and how many were odd: divided by their sum, or else by softmax.

    scale: what a row sums to. Rows with negative numbers beyond noise go through softmax; noise below 0 is cut off.
    Rows with NaN or infinity, and rows of zeros, stay as they are.
    """
    steps, rows = _scaled_steps(rows, scale), rows / scale
    finite = torch.isfinite(rows).all(dim=1) & (rows != 0).any(dim=1)
    odd = finite & ~are_probabilities(rows, steps, tolerance)
    scores, shares = rows.clamp(0.0, 1.0), rows.clamp(min=0.0)
    outside = odd & ((rows.amin(dim=1) < -NOISE) | (shares.amax(dim=1) == 0))
    scores[odd] = shares[odd] / shares[odd].sum(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    scores[outside] = torch.softmax(rows[outside], dim=1)
    return scores, int(odd.sum())
