"""One answer, in any form, as evidence about every class."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from oracles.answers import MISSING, FloatArray, Labels, Scores, TopK
from oracles.oracle import Oracle
from oracles.restrict import KeepTopK, LabelOnly, Rounded, Thresholded
from simkit.search.contract import Evidence
from simkit.search.evidence import TINY, evidence_of
from simkit.triggers import IntArray
from tests.oracles.fakes import TableOracle

UNKNOWN = np.array([-1], dtype=np.int32)


def probabilities(seed: int, images: int = 6, classes: int = 5) -> FloatArray:
    """Rows that sum to 1, from flat to nearly one-hot."""
    rng = np.random.default_rng(seed)
    rows = [rng.dirichlet(np.full(classes, 10.0 ** rng.uniform(-1.5, 1.0))) for _ in range(images)]
    return np.array(rows, dtype=np.float32)


def told_by(oracle: Oracle, images: int) -> Evidence:
    answer = oracle.query(torch.zeros(images, *oracle.image_shape))
    return evidence_of(answer, np.full(images, -1, dtype=np.int32))


def _topk(classes: list[int], values: list[float], n_classes: int = 4, floor: float = 0.0) -> TopK:
    return TopK(np.array([classes], np.int32), np.array([values], np.float32), n_classes, floor)


def test_scores_become_log_probabilities() -> None:
    evidence = evidence_of(Scores(np.array([[0.5, 0.25, 0.25, 0.0]], np.float32)), UNKNOWN)
    assert_allclose(evidence.score, np.log([[0.5, 0.25, 0.25, TINY]]), rtol=1e-6)
    assert_array_equal(evidence.hit, [[True, False, False, False]])
    assert evidence.score.dtype == np.float32


@pytest.mark.parametrize(
    ("answer", "bounds"),
    [
        (_topk([2], [0.6]), [0.4, 0.4, 0.6, 0.4]),  # what is left of the sum
        (_topk([2], [0.3]), [0.3, 0.3, 0.3, 0.3]),  # nothing left out beats the last one named
        (_topk([2, 0], [0.6, 0.3]), [0.3, 0.1, 0.6, 0.1]),
        (_topk([2, 0], [0.4, 0.3]), [0.3, 0.3, 0.4, 0.3]),
        (_topk([1, 3, 0, 2], [0.4, 0.3, 0.2, 0.1]), [0.2, 0.4, 0.1, 0.3]),
        (_topk([2, MISSING], [0.5, 0.0], floor=0.2), [0.2, 0.2, 0.5, 0.2]),  # the rest is below the floor
        (_topk([MISSING, MISSING], [0.0, 0.0], floor=0.4), [0.4, 0.4, 0.4, 0.4]),
        (_topk([2], [1.0], floor=0.005), [0.005, 0.005, 1.0, 0.005]),  # rounded: it may have been 0.995
        (Scores(np.array([[0.0, 0.9, 0.0, 0.0]], np.float32), floor=0.05), [0.05, 0.9, 0.05, 0.05]),
        (Scores(np.array([[0.0, 1.0, 0.0, 0.0]], np.float32), floor=0.005), [0.005, 1.0, 0.005, 0.005]),
        (Scores(np.array([[0.0, 1.0, 0.0, 0.0]], np.float32)), [TINY, 1.0, TINY, TINY]),
    ],
)
def test_what_is_left_out_gets_the_most_it_can_have(answer: Scores | TopK, bounds: list[float]) -> None:
    assert_allclose(np.exp(evidence_of(answer, UNKNOWN).score), [bounds], rtol=1e-4)


@given(seed=st.integers(0, 10**6), k=st.integers(1, 5))
@settings(max_examples=50)
def test_top_k_never_overstates_the_loss_and_is_exact_where_named(seed: int, k: int) -> None:
    true = probabilities(seed)
    evidence = told_by(KeepTopK(TableOracle(true), k), len(true))
    exact = np.log(np.maximum(true, np.float32(TINY)))
    assert (np.exp(evidence.score) >= true - 1e-6).all()  # float32 rows sum to 1 within that
    named = np.argsort(-true, axis=1, kind="stable")[:, :k]
    assert_array_equal(np.take_along_axis(evidence.score, named, 1), np.take_along_axis(exact, named, 1))
    assert_array_equal(evidence.hit.argmax(axis=1), true.argmax(axis=1))


@given(seed=st.integers(0, 10**6), minimum=st.floats(0.001, 0.6), k=st.none() | st.integers(1, 5))
@settings(max_examples=50)
def test_a_threshold_never_overstates_the_loss(seed: int, minimum: float, k: int | None) -> None:
    true = probabilities(seed)
    oracle = Thresholded(TableOracle(true), minimum)
    evidence = told_by(oracle if k is None else KeepTopK(oracle, k), len(true))
    assert (np.exp(evidence.score) >= true - 1e-6).all()


@given(seed=st.integers(0, 10**6), decimals=st.integers(0, 4), k=st.none() | st.integers(1, 5))
@settings(max_examples=50)
def test_rounding_overstates_the_loss_by_its_half_unit_at_most(seed: int, decimals: int, k: int | None) -> None:
    true = probabilities(seed)
    oracle = Rounded(TableOracle(true), decimals)
    evidence = told_by(oracle if k is None else KeepTopK(oracle, k), len(true))
    half = 0.5 * 10.0**-decimals
    assert (np.exp(evidence.score) >= true - half - 1e-6).all()
    zeros = np.round(true.astype(np.float64), decimals) == 0.0
    if k is None:
        assert (np.exp(evidence.score[zeros]) >= true[zeros] - 1e-6).all(), "where nothing is told it is a bound"


@given(st.lists(st.integers(MISSING, 3), min_size=1, max_size=20))
def test_the_loss_from_labels_is_one_less_the_hit_rate(labels: list[int]) -> None:
    answer = Labels(np.array(labels, np.int32), 4)
    evidence = evidence_of(answer, np.full(len(labels), -1, np.int32))
    for c in range(4):
        assert np.mean(-evidence.score[:, c]) == pytest.approx(1 - labels.count(c) / len(labels))
        assert evidence.hit[:, c].tolist() == [label == c for label in labels]


def test_labels_and_scores_agree_on_the_hits() -> None:
    true = probabilities(5)
    assert_array_equal(told_by(LabelOnly(TableOracle(true)), 6).hit, told_by(TableOracle(true), 6).hit)


def test_no_class_is_hit_where_none_is_named() -> None:
    nothing: list[tuple[Scores | TopK | Labels, IntArray]] = [
        (Scores(np.zeros((1, 3), np.float32), floor=0.9), UNKNOWN),
        (_topk([MISSING], [0.0], floor=0.9), UNKNOWN),
        (Labels(UNKNOWN, 3), UNKNOWN),
    ]
    assert not any(evidence_of(answer, classes).hit.any() for answer, classes in nothing)


def test_an_image_says_nothing_about_its_own_class() -> None:
    classes = np.array([0, 2, -1], dtype=np.int32)
    valid = evidence_of(Labels(np.zeros(3, np.int32), 3), classes).valid
    assert_array_equal(valid, [[False, True, True], [True, True, False], [True, True, True]])


@pytest.mark.parametrize("answer", [Scores(np.full((1, 4), np.nan, np.float32)), _topk([1, 2], [np.nan, np.nan])])
def test_nan_stays_nan(answer: Scores | TopK) -> None:
    assert np.isnan(evidence_of(answer, UNKNOWN).score).all()
