"""The terms of Neural Cleanse's and TABOR's objectives, one number per class.

TABOR's terms follow its public code (UsmannK/TABOR, tabor/snooper.py) without its errors: there, differences of
neighbours are taken along the batch axis and the rows but not the columns, every image of a batch is compared with the
label of the first, and a mask is counted once per colour.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch

LogProbabilities: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
"""From images (N, C, H, W) to the logarithms of the scores (N, T)."""


def l1(masks: torch.Tensor) -> torch.Tensor:
    """The L1 norm of the mask in pixels, (K, ...) to (K,): Neural Cleanse's only penalty."""
    return masks.abs().flatten(1).sum(dim=1)


def outside(masks: torch.Tensor, patterns: torch.Tensor) -> torch.Tensor:
    """The pattern outside the mask, N = (1 - m) * p: (K, 1, H, W) and (K, C, H, W) to (K, C, H, W)."""
    return (1.0 - masks) * patterns


def overly_large(values: torch.Tensor) -> torch.Tensor:
    """R1 of TABOR: L1 norm plus squared L2 norm, (K, ...) to (K,), of the mask or of the pattern outside it."""
    flat = values.flatten(1)
    return flat.abs().sum(dim=1) + flat.square().sum(dim=1)


def scattered(values: torch.Tensor) -> torch.Tensor:
    """R2 of TABOR: squared differences of neighbours along columns and rows, (K, C, H, W) to (K,)."""
    down, across = values.diff(dim=2), values.diff(dim=3)
    return down.square().flatten(1).sum(dim=1) + across.square().flatten(1).sum(dim=1)


def blocking(
    log_probabilities: LogProbabilities, masks: torch.Tensor, images: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """R3 of TABOR: with the trigger's region blacked out, every image keeps its class.

    Mean cross-entropy of (1 - m) * x against each image's own class. masks (K, 1, H, W), images (K, B, C, H, W), labels
    (K, B), to (K,).
    """
    return cross_entropy(log_probabilities, (1.0 - masks)[:, None] * images, labels)


def overlaying(
    log_probabilities: LogProbabilities, masks: torch.Tensor, patterns: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """R4 of TABOR: the trigger on a black image is classified as the target.

    Cross-entropy of m * p. masks (K, 1, H, W), patterns (K, C, H, W), targets (K,), to (K,).
    """
    return cross_entropy(log_probabilities, (masks * patterns)[:, None], targets[:, None])


def cross_entropy(log_probabilities: LogProbabilities, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The mean of -log score of the label: images (K, B, C, H, W), labels (K, B), to (K,)."""
    rows = log_probabilities(images.flatten(0, 1))
    return -rows.gather(1, labels.reshape(-1, 1)).reshape(labels.shape).mean(dim=1)
