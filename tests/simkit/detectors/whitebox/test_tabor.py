"""TABOR's objective as a sum of its terms, on the scale of the code that its weights come from."""

from __future__ import annotations

import pytest
import torch

from simkit.detectors.whitebox.inversion import Batch
from simkit.detectors.whitebox.tabor import QUICK_WEIGHTS, Weights
from simkit.errors import ConfigError

OFF = Weights(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
MASKS = torch.tensor([[[[0.0, 1.0]]]])
PATTERNS = torch.tensor([[[[0.5, 0.25]]]])


def _even(images: torch.Tensor) -> torch.Tensor:
    """The score of class 1 is the mean of the pixels."""
    bright = images.flatten(1).mean(dim=1)
    return torch.stack([1.0 - bright, bright], dim=1).log()


@pytest.mark.parametrize(
    ("weights", "penalty"),
    [
        (OFF, 0.0),
        (Weights(2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0), 2.0 * (1.0 + 1.0)),
        (Weights(0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 1.0), 2.0 * (0.5 + 0.25)),
        (Weights(0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 1.0), 2.0 * 1.0),
        (Weights(0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 1.0), 2.0 * 0.25),
        (Weights(0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 255.0), 127.5 + 2 * 127.5**2),
        (Weights(1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 255.0), 3.0),  # colours are the pattern's, not the mask's
    ],
)
def test_each_weight_is_of_its_own_term(weights: Weights, penalty: float) -> None:
    assert weights.penalty(MASKS, PATTERNS).tolist() == pytest.approx([penalty])


def test_the_loss_adds_blocking_and_overlaying_to_the_cross_entropy() -> None:
    images, labels = torch.tensor([[[[[0.5, 0.5]]]]]), torch.tensor([[1]])
    batch = Batch(images, labels, torch.tensor([1]), MASKS, PATTERNS)
    attack, blocked, overlaid = (-torch.tensor([value]).log() for value in (0.375, 0.25, 0.125))
    for r3, r4 in ((0.0, 0.0), (2.0, 0.0), (0.0, 3.0), (2.0, 3.0)):
        loss = Weights(blocking=r3, overlaying=r4).objective(_even, batch).loss
        assert loss.tolist() == pytest.approx((attack + r3 * blocked + r4 * overlaid).tolist())


def test_the_public_weights_pay_a_larger_mask_and_ours_a_smaller_one() -> None:
    small, large = torch.full((1, 1, 8, 8), 0.25), torch.full((1, 1, 8, 8), 0.75)
    grey = torch.full((1, 3, 8, 8), 0.5)
    public, ours = Weights(), QUICK_WEIGHTS
    assert public.penalty(large, grey).item() < public.penalty(small, grey).item()
    assert ours.penalty(large, grey).item() > ours.penalty(small, grey).item()


def test_weights_below_zero_are_refused() -> None:
    with pytest.raises(ConfigError):
        Weights(blocking=-1.0)
    with pytest.raises(ConfigError):
        Weights(colours=0.0)
