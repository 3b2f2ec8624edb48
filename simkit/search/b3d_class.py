"""One class of a B3D search: its distribution over triggers, its samples, its updates, its best trigger."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import torch

from simkit.search.b3d_config import B3DConfig
from simkit.search.estimators import leave_one_out, mask_gradient, pattern_gradient, sparsity_gradient, squash
from simkit.search.sparsity import Sparsity
from simkit.triggers import FloatArray, Trigger, Triggers


@dataclass(frozen=True, eq=False)
class Samples:
    """What was drawn for one step: masks (k, h, w) in {0, 1} on the grid, noise (k, C, H, W) on the pixels."""

    masks: FloatArray
    noise: FloatArray


@dataclass(frozen=True, eq=False)
class Best:
    """A binarised trigger, its size in pixels, and the share of the check images it hit."""

    trigger: Trigger
    mask_size: float
    success_rate: float


class ClassDistribution:
    """pi(m, p | theta_m, theta_p) for one target class, moved by Adam."""

    def __init__(self, config: B3DConfig, image_shape: tuple[int, int, int]) -> None:
        channels, height, width = image_shape
        self._config, self._shape = config, image_shape
        self._tile = config.tile(image_shape)
        tiles = (-(-height // self._tile), -(-width // self._tile))
        self._mask = torch.full(tiles, config.mask_init, dtype=torch.float32)
        self._pattern = torch.zeros((channels, height, width), dtype=torch.float32)
        self._window: FloatArray | None = None
        self._adam = torch.optim.Adam([self._mask, self._pattern], lr=config.learning_rate)
        self.sparsity = Sparsity(config.sparsity.weight)
        self.best: Best | None = None
        self.largest_failure: Best | None = None
        self.loss: float | None = None  # mean cross entropy of the last step's samples

    def begin_at(self, mask: FloatArray, pattern: FloatArray, window: FloatArray) -> None:
        """Set both means, theta_m (h, w) on the grid and theta_p (C, H, W), before the first update.

        window: (h, w) in {0, 1}; where it is 0 the mask is 0 for good.
        """
        self._mask.copy_(torch.from_numpy(mask))
        self._pattern.copy_(torch.from_numpy(pattern))
        self._window = window

    @property
    def probabilities(self) -> FloatArray:
        """g(theta_m) on the grid, 0 outside the window if there is one."""
        inside = squash(self._mask.numpy())
        return inside if self._window is None else inside * self._window

    @property
    def expected_mask_size(self) -> float:
        """The mean L1 norm of a sampled mask, in pixels."""
        return float(self.probabilities.sum()) * self._tile**2

    def digest(self) -> int:
        """A checksum of both means: a replay on code or hardware that counts otherwise shows in it at once."""
        return zlib.crc32(self._pattern.numpy().tobytes(), zlib.crc32(self._mask.numpy().tobytes()))

    def sample(self, rng: np.random.Generator) -> Samples:
        """m_j ~ Bern(g(theta_m)) and eps_j ~ N(0, I); antithetic noise has eps_{j + k/2} = -eps_j."""
        k, g = self._config.samples, self.probabilities
        masks = (rng.random((k, *g.shape), dtype=np.float32) < g).astype(np.float32)
        if self._config.antithetic:
            half = rng.standard_normal((k // 2, *self._pattern.shape), dtype=np.float32)
            return Samples(masks, np.concatenate([half, -half]))
        return Samples(masks, rng.standard_normal((k, *self._pattern.shape), dtype=np.float32))

    def candidates(self, samples: Samples) -> Triggers:
        """The triggers to query: (m_j, p_j) jointly, or (m_j, g(theta_p)) and then (g(theta_m), p_j) (slides)."""
        theta = self._pattern.numpy()
        patterns = squash(theta + np.float32(self._config.sigma) * samples.noise)
        if self._config.joint:
            return self._full(samples.masks, patterns)
        means = np.broadcast_to(squash(theta), patterns.shape)
        soft = np.broadcast_to(self.probabilities, samples.masks.shape)
        return self._full(np.concatenate([samples.masks, soft]), np.concatenate([means, patterns]))

    def binarised(self) -> Trigger:
        """The mean trigger with its mask cut at one half."""
        mask = (self.probabilities >= 0.5).astype(np.float32)
        return self._full(mask[None], squash(self._pattern.numpy())[None])[0]

    def update(self, samples: Samples, losses: FloatArray, success_rate: float) -> None:
        """One step of Adam. losses: float32 (k,) jointly or (2k,), a candidate's mean cross entropy."""
        config, k, g = self._config, len(samples.masks), self.probabilities
        self.loss = float(losses.mean())
        mask_losses, pattern_losses = losses[:k], losses[:k] if config.joint else losses[k:]
        weight = np.float32(self.sparsity.weight * self._tile**2)
        if not config.exact_sparsity:
            mask_losses = mask_losses + weight * samples.masks.sum(axis=(1, 2))
            pattern_losses = pattern_losses + weight * g.sum()
        mask_grad = mask_gradient(self._centred(mask_losses), samples.masks, g)
        if config.exact_sparsity:
            mask_grad = mask_grad + weight * sparsity_gradient(g)
        pattern_grad = pattern_gradient(self._centred(pattern_losses), samples.noise, config.sigma)
        self._mask.grad = torch.from_numpy(mask_grad.astype(np.float32, copy=False))
        self._pattern.grad = torch.from_numpy(pattern_grad.astype(np.float32, copy=False))
        self._adam.step()
        if config.mask_limit is not None:
            self._mask.clamp_(-config.mask_limit, config.mask_limit)
        self.sparsity = self.sparsity.after(success_rate, config.sparsity)

    def look(self, trigger: Trigger, success_rate: float) -> None:
        """Keep the binarised trigger if it works and is the smallest that did, or the largest that did not."""
        seen, failure = Best(trigger, trigger.mask_size, success_rate), self.largest_failure
        if success_rate >= self._config.required_success:
            self.best = seen if self.best is None or seen.mask_size < self.best.mask_size else self.best
        elif failure is None or seen.mask_size > failure.mask_size:
            self.largest_failure = seen

    def _centred(self, losses: FloatArray) -> FloatArray:
        if self._config.baseline == "none":
            return losses
        return leave_one_out(losses, 2 if self._config.antithetic else 1)

    def _full(self, masks: FloatArray, patterns: FloatArray) -> Triggers:
        _, height, width = self._shape
        masks = _enlarge(masks, self._tile, height, width)[:, None]
        return Triggers(np.ascontiguousarray(masks), np.ascontiguousarray(patterns))


def _enlarge(tiles: FloatArray, side: int, height: int, width: int) -> FloatArray:
    """Every tile of (..., h, w) repeated to side x side pixels, cut to (..., height, width)."""
    if side == 1:
        return np.ascontiguousarray(tiles, dtype=np.float32)
    pixels = tiles.repeat(side, axis=-2).repeat(side, axis=-1)
    return np.ascontiguousarray(pixels[..., :height, :width], dtype=np.float32)
