"""The gradient estimators against the exact gradient of J, by enumeration instead of by luck."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from simkit.search.estimators import leave_one_out, mask_gradient, pattern_gradient, sparsity_gradient, squash
from simkit.triggers import FloatArray

Doubles = NDArray[np.float64]
THETA = np.array([-0.6, 0.1, 0.9, -1.14])
MASKS = np.array(list(itertools.product([0.0, 1.0], repeat=4)))
TABLE = np.random.default_rng(3).normal(2.0, 1.5, len(MASKS))
"""F of each of the 16 masks, without any structure."""

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(24)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
"""Quadrature of the standard normal: exact for polynomials up to degree 47."""


def doubles(values: Doubles) -> FloatArray:
    """Doubles as they are: the estimators compute in the type they are given."""
    return cast(FloatArray, values)


def f32(values: Doubles) -> FloatArray:
    return values.astype(np.float32)


def bernoulli(theta: Doubles) -> Doubles:
    """The probability of every mask in MASKS."""
    g = (np.tanh(theta) + 1) / 2
    chances: Doubles = np.where(MASKS == 1, g, 1 - g).prod(axis=1)
    return chances


def derivative(function: Callable[[Doubles], float], at: Doubles, step: float = 1e-5) -> Doubles:
    """Central differences."""
    steps = step * np.eye(len(at))
    return np.array([(function(at + e) - function(at - e)) / (2 * step) for e in steps])


def test_squash_is_the_slides_g() -> None:
    theta = np.array([-1.14, 0.0, 1.14, 40.0], dtype=np.float32)
    before = theta.copy()
    assert_allclose(squash(theta), [0.09279, 0.5, 0.90721, 1.0], atol=1e-5)
    assert squash(theta).dtype == np.float32
    assert (theta == before).all()


def test_the_mask_gradient_is_exact_in_expectation() -> None:
    exact = derivative(lambda t: float(bernoulli(t) @ TABLE), THETA)
    losses = len(MASKS) * bernoulli(THETA) * TABLE  # the estimator divides by k
    actual = mask_gradient(f32(losses), f32(MASKS), squash(f32(THETA)))
    assert_allclose(actual, exact, atol=1e-5)
    assert np.abs(exact).min() > 0.01, "so that a wrong factor cannot pass"


def test_the_mask_gradient_of_one_pixel_by_hand() -> None:
    g = np.array([0.25], dtype=np.float32)
    masks = np.array([[1.0], [0.0]], dtype=np.float32)
    actual = mask_gradient(np.array([3.0, 1.0], dtype=np.float32), masks, g)
    assert_allclose(actual, [(3.0 * 2 * 0.75 + 1.0 * 2 * -0.25) / 2])


def test_the_mask_gradient_keeps_the_shape_of_the_mask() -> None:
    flat = mask_gradient(f32(TABLE), f32(MASKS), squash(f32(THETA)))
    square = mask_gradient(f32(TABLE), f32(MASKS.reshape(-1, 2, 2)), squash(f32(THETA.reshape(2, 2))))
    assert_allclose(square, flat.reshape(2, 2), rtol=1e-6)


@pytest.mark.parametrize("sigma", [0.1, 0.5])
def test_the_pattern_gradient_of_a_quadratic(sigma: float) -> None:
    theta, b = np.array([0.3, -0.8]), np.array([1.0, 0.4])
    noise, chances = _grid(2)
    values = ((theta + sigma * noise - b) ** 2 * [1.0, 3.0]).sum(axis=1)
    actual = pattern_gradient(doubles(len(noise) * chances * values), doubles(noise), sigma)
    assert_allclose(actual, 2 * (theta - b) * [1.0, 3.0], atol=1e-9)


def test_the_pattern_gradient_through_the_squash() -> None:
    sigma, theta = 0.4, np.array([0.3, -0.8])
    noise, chances = _grid(2)

    def values(at: Doubles) -> Doubles:
        p = (np.tanh(at + sigma * noise) + 1) / 2
        out: Doubles = p[:, 0] ** 2 - 2 * p[:, 0] * p[:, 1]
        return out

    exact = derivative(lambda t: float(chances @ values(t)), theta)
    actual = pattern_gradient(doubles(len(noise) * chances * values(theta)), doubles(noise), sigma)
    assert_allclose(actual, exact, atol=1e-5)
    assert np.abs(exact).min() > 0.05


def _grid(dims: int) -> tuple[Doubles, Doubles]:
    """All combinations of the quadrature's nodes, (24**dims, dims), and their weights; doubles."""
    noise = np.array(list(itertools.product(NODES, repeat=dims)))
    chances = np.array(list(itertools.product(WEIGHTS, repeat=dims))).prod(axis=1)
    return noise, chances


def test_the_sparsity_gradient_is_that_of_the_expected_size() -> None:
    exact = derivative(lambda t: float(((np.tanh(t) + 1) / 2).sum()), THETA)
    assert_allclose(sparsity_gradient(squash(f32(THETA))), exact, atol=1e-6)


def test_leave_one_out_by_hand() -> None:
    losses = np.array([1.0, 2.0, 3.0, 6.0], dtype=np.float32)
    assert_allclose(leave_one_out(losses), [1 - 11 / 3, 2 - 10 / 3, 3 - 9 / 3, 6 - 6 / 3], rtol=1e-6)
    assert_allclose(leave_one_out(losses, 2), [1 - 8 / 2, 2 - 4 / 2, 3 - 8 / 2, 6 - 4 / 2], rtol=1e-6)


@pytest.mark.parametrize(("samples", "group"), [(1, 1), (2, 2), (5, 2), (4, 3), (4, 0)])
def test_leave_one_out_needs_whole_groups(samples: int, group: int) -> None:
    with pytest.raises(ValueError, match="groups"):
        leave_one_out(np.ones(samples, dtype=np.float32), group)


@given(st.lists(st.floats(-10, 10, width=32), min_size=4, max_size=12), st.sampled_from([1, 2]), st.floats(-50, 50))
@settings(max_examples=40)
def test_leave_one_out_forgets_what_all_losses_share(values: list[float], group: int, shift: float) -> None:
    losses = np.array(values[: len(values) // 2 * 2])
    centred = leave_one_out(doubles(losses), group)
    assert_allclose(leave_one_out(doubles(losses + shift), group), centred, atol=1e-9)
    assert_allclose(centred.sum(), 0.0, atol=1e-9)


def test_leave_one_out_keeps_the_mask_gradient_and_cuts_its_variance() -> None:
    table, g = TABLE + 10.0, squash(f32(THETA))
    exact = derivative(lambda t: float(bernoulli(t) @ table), THETA)
    plain, centred, chances = [], [], []
    for i, j in itertools.product(range(len(MASKS)), repeat=2):
        losses, masks = f32(table[[i, j]]), f32(MASKS[[i, j]])
        plain.append(mask_gradient(losses, masks, g))
        centred.append(mask_gradient(leave_one_out(losses), masks, g))
        chances.append(bernoulli(THETA)[i] * bernoulli(THETA)[j])
    assert_allclose(np.average(centred, axis=0, weights=chances), exact, atol=2e-5)
    variances = [np.average((np.array(e) - exact) ** 2, axis=0, weights=chances) for e in (plain, centred)]
    assert (variances[1] < 0.2 * variances[0]).all()


def test_antithetic_pairs_are_left_out_together() -> None:
    sigma, theta = 0.3, 0.7
    errors = {}
    for group in (1, 2):
        total = 0.0
        for (a, b), (wa, wb) in zip(
            itertools.product(NODES, repeat=2), itertools.product(WEIGHTS, repeat=2), strict=True
        ):
            noise = np.array([a, b, -a, -b])
            losses = leave_one_out(doubles(np.exp(theta + sigma * noise) + 5.0), group)
            total += wa * wb * float(pattern_gradient(losses, doubles(noise[:, None]), sigma)[0])
        errors[group] = abs(total - np.exp(theta + sigma**2 / 2))  # J' of exp(p') + 5, in closed form
    assert errors[2] < 1e-9
    assert errors[1] > 0.1, "a partner's loss is no baseline: it depends on the same noise"


def test_antithetic_pairs_with_a_baseline_cut_the_variance() -> None:
    rng, sigma = np.random.default_rng(0), 0.3
    plain, better = [], []
    for _ in range(400):
        noise = rng.normal(size=(6, 1))
        paired = np.concatenate([noise[:3], -noise[:3]])
        losses, paired_losses = ((1.0 + sigma * e[:, 0]) ** 3 + 5.0 for e in (noise, paired))
        plain.append(pattern_gradient(doubles(losses), doubles(noise), sigma)[0])
        better.append(pattern_gradient(leave_one_out(doubles(paired_losses), 2), doubles(paired), sigma)[0])
    assert np.var(better) < 0.1 * np.var(plain)
    assert np.mean(better) == pytest.approx(3 * (1.0 + sigma**2), abs=4 * float(np.std(better)) / 20)
