"""The last hidden layer is what the last linear layer is given."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from oracles.errors import ModelError
from oracles.foreign import ForeignModel
from simkit.detectors.whitebox.hidden import hidden
from simkit.search.evaluator import NotFinite

PIXELS = torch.rand(600, 1, 2, 2, generator=torch.Generator().manual_seed(0))


def test_it_is_the_input_of_the_linear_layer_that_runs_last() -> None:
    class Backwards(nn.Module):
        """Its layers run in another order than they are defined in."""

        def __init__(self) -> None:
            super().__init__()
            self.last, self.first = nn.Linear(3, 2), nn.Linear(4, 3)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            rows: torch.Tensor = self.last(torch.relu(self.first(images.flatten(1))))
            return rows

    model = Backwards()
    seen = hidden(model, PIXELS)
    with torch.no_grad():
        expected = torch.relu(model.first(PIXELS.flatten(1)))
        answers = model.last(expected).argmax(dim=1)
    np.testing.assert_allclose(seen.activations, expected.numpy(), rtol=1e-5)
    np.testing.assert_array_equal(seen.answers, answers.numpy())
    assert seen.n_classes == 2


def test_the_model_of_the_caller_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(4, 2)).train()
    first, second = hidden(model, PIXELS), hidden(model, PIXELS)
    np.testing.assert_array_equal(first.activations, second.activations)  # no dropout in the copy
    assert model.training
    assert not model[2]._forward_pre_hooks


def test_a_model_that_cannot_be_watched_is_refused() -> None:
    foreign = ForeignModel(lambda images: np.zeros((len(images), 2), np.float32), 2, False)
    convolution = nn.Sequential(nn.Conv2d(1, 2, 2), nn.Flatten())
    for model in (foreign, convolution):
        with pytest.raises(ModelError, match="linear layer"):
            hidden(model, PIXELS)
    with pytest.raises(ModelError, match="failed"):
        hidden(nn.Sequential(nn.Flatten(), nn.Linear(5, 2)), PIXELS)
    with pytest.raises(ModelError, match="must answer"):
        hidden(nn.Linear(2, 2), PIXELS)


def test_nan_is_not_taken_for_an_answer() -> None:
    model = nn.Sequential(nn.Flatten(), linear := nn.Linear(4, 2))
    nn.init.constant_(linear.weight, float("nan"))
    with pytest.raises(NotFinite):
        hidden(model, PIXELS)
