"""The two gradient estimators of the slides as pure functions, and optional control variates.

The slides minimise J(theta_m, theta_p), the mean of F(m, p; c) over m ~ Bern(g(theta_m)) and p = g(p'),
p' ~ N(theta_p, sigma^2), with g(t) = (tanh(t) + 1) / 2 (slides, "Natural Evolution Strategies").
"""

from __future__ import annotations

import numpy as np

from simkit.triggers import FloatArray


def squash(theta: FloatArray) -> FloatArray:
    """g(t) = (tanh(t) + 1) / 2, elementwise into (0, 1) (slides)."""
    out: FloatArray = np.tanh(theta)
    out += 1.0
    out *= 0.5
    return out


def mask_gradient(losses: FloatArray, masks: FloatArray, probabilities: FloatArray) -> FloatArray:
    """Estimate of dJ/dtheta_m: 1/k sum_j F_j * 2 (m_j - g(theta_m)) (slides).

    losses: (k,), F of each sample, optionally centred. masks: (k, ...) in {0, 1}. probabilities: (...), g(theta_m).
    """
    k = len(losses)
    weighted = np.tensordot(losses, masks, axes=1)
    gradient: FloatArray = (2.0 / k) * (weighted - losses.sum() * probabilities)
    return gradient


def pattern_gradient(losses: FloatArray, noise: FloatArray, sigma: float) -> FloatArray:
    """Estimate of dJ/dtheta_p: 1/(k sigma) sum_j F_j * eps_j (slides).

    losses: (k,), F of each sample, optionally centred. noise: (k, ...), the eps_j ~ N(0, I). sigma > 0.
    """
    gradient: FloatArray = np.tensordot(losses, noise, axes=1) / (len(losses) * sigma)
    return gradient


def sparsity_gradient(probabilities: FloatArray) -> FloatArray:
    """The exact gradient d E|m| / dtheta_m = g'(theta_m) = 2 g (1 - g), without sampling noise."""
    gradient: FloatArray = 2.0 * probabilities * (1.0 - probabilities)
    return gradient


def leave_one_out(losses: FloatArray, group: int = 1) -> FloatArray:
    """F_j minus the mean F of the samples that are independent of sample j.

    losses: (k,), k > group. group: 1, or 2 if samples j and j + k/2 are an antithetic pair; the pair is then left out
    together, which keeps both gradients unbiased.
    """
    k = len(losses)
    if group not in (1, 2) or k <= group or k % group:
        raise ValueError(f"{k} losses in groups of {group}; need more than one whole group of 1 or 2")
    own = losses if group == 1 else losses + np.roll(losses, k // 2)
    centred: FloatArray = losses - (losses.sum() - own) / (k - group)
    return centred
