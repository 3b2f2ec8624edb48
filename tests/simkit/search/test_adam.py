"""Adam without torch.optim: the same steps, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from simkit.search.adam import Adam
from simkit.seeding import stream


@pytest.mark.parametrize("shape", [(1,), (7,), (8, 8), (3, 32, 32), (3, 96, 96)])
@pytest.mark.parametrize("learning_rate", [0.05, 0.2])
def test_it_takes_the_steps_of_torchs_adam_to_the_last_bit(shape: tuple[int, ...], learning_rate: float) -> None:
    rng = stream(0, "adam")
    value = rng.standard_normal(shape, dtype=np.float32)
    reference = torch.from_numpy(value.copy())
    own, theirs = Adam(value, learning_rate), torch.optim.Adam([reference], lr=learning_rate)
    for step in range(60):
        gradient = rng.standard_normal(shape, dtype=np.float32) * np.float32(10.0 ** (step % 9 - 6))
        gradient[rng.random(shape) < 0.1] = 0.0
        own.step(gradient)
        reference.grad = torch.from_numpy(gradient)
        theirs.step()
        assert reference.numpy().tobytes() == value.tobytes(), f"after step {step + 1}"


def test_it_changes_the_array_that_it_was_given() -> None:
    value = np.zeros(3, dtype=np.float32)
    Adam(value, 0.1).step(np.array([1.0, -1.0, 0.0], dtype=np.float32))
    assert value == pytest.approx([-0.1, 0.1, 0.0])
