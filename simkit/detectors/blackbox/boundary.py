"""Label-only HopSkipJump towards a class, for many pairs of images at once, so that an oracle gets large batches.

This follows hsja.py in AEVA's released code (constraint l2, geometric steps), with pixels in [0, 1]. Differences: a
fixed number of bisections instead of a bound on their width; the width of the gradient's samples is computed from it
and from the distance after the boundary search (there from the bound and the distance before it); a step has a fixed
number of tries; and a pair stays where it is if all tries fail or if it would end farther away.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from simkit.errors import ConfigError
from simkit.seeding import stream
from simkit.triggers import IntArray

Bools: TypeAlias = NDArray[np.bool_]

Inside: TypeAlias = Callable[[torch.Tensor, IntArray], Bools]
"""Whether each image, float32 (N, C, H, W) in [0, 1], is classified as the target of its pair, int32 (N,)."""

_BATCH = 512
"""Most images per call."""

_FIRST_WIDTH = 0.1
"""L2 norm of the first gradient's samples, as in the released code."""


@dataclass(frozen=True)
class WalkConfig:
    """The length of the walks. The defaults are ours: thousands of queries per pair instead of 25,000."""

    rounds: int = 14
    """Rounds of gradient, step and boundary search (released code: 50)."""
    samples: int = 45
    """Samples of the first gradient; the j-th has sqrt(j) times as many (released code: 100)."""
    halvings: int = 8
    """Bisections per boundary search (released code: until d^-1.5 of the distance, 18 for 3,072 values)."""
    tries: int = 6
    """Tries per step, each half as long as the one before (released code: no limit)."""

    def __post_init__(self) -> None:
        if min(self.rounds, self.samples, self.halvings, self.tries) < 1:
            raise ConfigError(f"{self}; rounds, samples, halvings and tries must be 1 or more")

    def samples_of(self, number: int) -> int:
        """Samples of the gradient of one round, 1 or more."""
        return int(self.samples * math.sqrt(number))

    @property
    def least_queries(self) -> int:
        """The fewest queries per pair, if the first try of every step succeeds."""
        gradients = sum(self.samples_of(j) for j in range(1, self.rounds + 1))
        return self.halvings + gradients + self.rounds * (self.halvings + 1)


def walk(inside: Inside, sources: torch.Tensor, starts: torch.Tensor, config: WalkConfig, seed: int) -> torch.Tensor:
    """The image nearest to each source that is still inside, among those on the walk: float32 (P, C, H, W) in [0, 1].

    sources, starts: float32 (P, C, H, W); every start is inside, no source is.
    """
    points = to_boundary(inside, sources, starts, config.halvings)
    for number in range(1, config.rounds + 1):
        far = distances(points, sources)
        widths = math.sqrt(points[0].numel()) * 0.5**config.halvings * far
        if number == 1:
            widths = torch.full_like(far, _FIRST_WIDTH)
        samples = config.samples_of(number)
        towards = directions(inside, points, widths, samples, (seed, number))
        stepped = steps(inside, points, towards, far / math.sqrt(number), config.tries)
        points = nearer(sources, points, to_boundary(inside, sources, stepped, config.halvings))
    return points


def distances(points: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """The L2 distances, float32 (P,)."""
    lengths: torch.Tensor = (points - others).flatten(1).norm(dim=1)
    return lengths


def nearer(sources: torch.Tensor, points: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """For each source, the nearer one of two images."""
    other_is = distances(others, sources) < distances(points, sources)
    return torch.where(other_is[:, None, None, None], others, points)


def to_boundary(inside: Inside, sources: torch.Tensor, ends: torch.Tensor, halvings: int) -> torch.Tensor:
    """The image nearest to the boundary on each line from source to end, by bisection.

    The ends are inside, and so are the returned images; at most 2^-halvings of a line lies between them and the
    boundary.
    """
    low, high = torch.zeros(len(ends)), torch.ones(len(ends))
    for _ in range(halvings):
        middle = (low + high) / 2
        within = _inside(inside, _between(sources, ends, middle))
        low, high = torch.where(within, low, middle), torch.where(within, middle, high)
    return _between(sources, ends, high)


def _between(sources: torch.Tensor, ends: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    return torch.lerp(sources, ends, share[:, None, None, None]).clip(0.0, 1.0)


def directions(
    inside: Inside, points: torch.Tensor, widths: torch.Tensor, samples: int, seed: tuple[int, int]
) -> torch.Tensor:
    """Unit vectors that lead inside, each estimated from `samples` images at L2 distance `width` (P,) from its point.

    seed: the seed of the scan, and the round.
    """
    at_once, parts = max(1, _BATCH // samples), []
    for first in range(0, len(points), at_once):
        some, draw = slice(first, first + at_once), stream(seed[0], "boundary", seed[1], first)
        parts.append(_directions(_from(inside, first), points[some], widths[some], samples, draw))
    return torch.cat(parts)


def _from(inside: Inside, first: int) -> Inside:
    """`inside` for the pairs from number `first` on."""
    return lambda images, pairs: inside(images, pairs + np.int32(first))


def _directions(
    inside: Inside, points: torch.Tensor, widths: torch.Tensor, samples: int, draw: np.random.Generator
) -> torch.Tensor:
    around = torch.from_numpy(draw.standard_normal((len(points), samples, *points.shape[1:]), np.float32))
    around /= around.flatten(2).norm(dim=2)[:, :, None, None, None]
    width = widths[:, None, None, None, None]
    asked = (points[:, None] + width * around).clip(0.0, 1.0)
    pairs = np.repeat(np.arange(len(points), dtype=np.int32), samples)
    hits = _inside(inside, asked.flatten(0, 1), pairs).reshape(len(points), samples)
    return mean_direction((asked - points[:, None]) / width, hits)


def mean_direction(moved: torch.Tensor, hits: torch.Tensor) -> torch.Tensor:
    """Unit vectors (P, C, H, W) from moves (P, N, C, H, W) and whether each leads inside, bool (P, N).

    The mean of the moves weighted by signs +1 and -1; if the signs differ, their mean is subtracted first.
    """
    signs = 2.0 * hits.float() - 1.0
    mean = signs.mean(dim=1, keepdim=True)
    weights = torch.where(mean.abs() < 1.0, signs - mean, signs)
    towards = (weights[:, :, None, None, None] * moved).mean(dim=1)
    lengths: torch.Tensor = towards.flatten(1).norm(dim=1).clamp_min(1e-12)
    return towards / lengths[:, None, None, None]


def steps(
    inside: Inside, points: torch.Tensor, towards: torch.Tensor, lengths: torch.Tensor, tries: int
) -> torch.Tensor:
    """Each point moved by the largest of length, length / 2, ... that stays inside; unmoved after `tries` failures."""
    moved, waiting = points.clone(), np.arange(len(points), dtype=np.int32)
    for _ in range(tries):
        index = torch.from_numpy(waiting).long()
        tried = (points[index] + lengths[index, None, None, None] * towards[index]).clip(0.0, 1.0)
        within = _inside(inside, tried, waiting)
        moved[index[within]] = tried[within]
        waiting, lengths = waiting[~within.numpy()], lengths / 2
        if len(waiting) == 0:
            break
    return moved


def _inside(inside: Inside, images: torch.Tensor, pairs: IntArray | None = None) -> torch.Tensor:
    """`inside` in calls of at most _BATCH images. pairs: the pair of each image; None for all pairs in order."""
    if pairs is None:
        pairs = np.arange(len(images), dtype=np.int32)
    parts = [inside(images[i : i + _BATCH], pairs[i : i + _BATCH]) for i in range(0, len(images), _BATCH)]
    return torch.from_numpy(np.concatenate(parts))
