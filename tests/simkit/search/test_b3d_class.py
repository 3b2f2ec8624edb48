"""One class's distribution: which triggers it keeps, and its bound and checksum."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simkit.search.b3d import B3DConfig, ClassDistribution, Samples
from simkit.search.sparsity import Mode, SparsityConfig
from simkit.triggers import Trigger

CONFIG = B3DConfig(samples=4, joint=True, grid=3, mask_limit=2.0, learning_rate=5.0, required_success=0.9)
SHAPE = (1, 6, 6)


def trigger(size: int) -> Trigger:
    mask = np.zeros((1, 6, 6), np.float32)
    mask.reshape(-1)[:size] = 1.0
    return Trigger(mask, np.zeros((1, 6, 6), np.float32))


def test_it_keeps_the_smallest_that_works_and_the_largest_that_fails() -> None:
    distribution = ClassDistribution(CONFIG, SHAPE)
    assert distribution.best is None
    assert distribution.largest_failure is None
    for size, rate in [(8, 0.5), (20, 0.89), (12, 0.0), (30, 0.9), (16, 1.0), (24, 1.0)]:
        distribution.look(trigger(size), rate)
    assert distribution.best is not None
    assert distribution.largest_failure is not None
    assert (distribution.best.mask_size, distribution.best.success_rate) == (16.0, 1.0)
    assert distribution.largest_failure.mask_size == 20.0


def test_theta_stays_within_its_bound_and_the_checksum_follows_it() -> None:
    distribution = ClassDistribution(CONFIG, SHAPE)
    before = distribution.digest()
    samples: Samples = distribution.sample(np.random.default_rng(0))
    for _ in range(3):
        distribution.update(samples, np.array([0.0, 9.0, 3.0, 1.0], np.float32), 0.5)
    assert distribution.digest() != before
    bounds = [(np.tanh(-2.0) + 1) / 2, (np.tanh(2.0) + 1) / 2]
    np.testing.assert_allclose(np.unique(distribution.probabilities.round(5)), np.round(bounds, 5), rtol=1e-6)


def test_the_expected_size_counts_pixels() -> None:
    sparse = ClassDistribution(CONFIG, SHAPE)
    np.testing.assert_allclose(sparse.expected_mask_size, 36 * (np.tanh(-1.14) + 1) / 2, rtol=1e-5)


@pytest.mark.parametrize(("mode", "emptied"), [("proportional", True), ("working", False)])
def test_a_mask_is_not_emptied_for_its_size_alone_while_nothing_works(mode: Mode, emptied: bool) -> None:
    tiny = SparsityConfig(weight=1e-6, mode=mode)
    config = replace(
        CONFIG, learning_rate=0.2, mask_init=0.0, sparsity=tiny, exact_sparsity=True, baseline="leave_one_out"
    )
    distribution, rng = ClassDistribution(config, SHAPE), np.random.default_rng(0)
    for _ in range(10):
        distribution.update(distribution.sample(rng), np.ones(4, np.float32), 0.0)  # labels, and no sample is a hit
    before = distribution.expected_mask_size
    assert before < 3.0 if emptied else before == 18.0
    distribution.update(distribution.sample(rng), np.array([0.0, 1.0, 1.0, 1.0], np.float32), 0.25)
    assert distribution.expected_mask_size != before
