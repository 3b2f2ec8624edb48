from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_array_equal

from oracles.answers import MISSING, FloatArray, Labels, Scores, TopK
from oracles.errors import InvalidSpec
from oracles.oracle import Oracle
from oracles.restrict import (
    InputNoise,
    KeepTopK,
    LabelOnly,
    Quantized,
    Rounded,
    ScoreNoise,
    Thresholded,
)
from tests.contracts.oracle import OracleContract
from tests.oracles.fakes import LinearOracle, TableOracle, random_images


class TestKeepTopKContract(OracleContract):
    answer_type = TopK

    def make(self) -> Oracle:
        return KeepTopK(LinearOracle(), 3)


class TestLabelOnlyContract(OracleContract):
    answer_type = Labels

    def make(self) -> Oracle:
        return LabelOnly(LinearOracle())


class TestThresholdedContract(OracleContract):
    normalised = False

    def make(self) -> Oracle:
        return Thresholded(LinearOracle(), 0.2)


class TestRoundedContract(OracleContract):
    normalised = False

    def make(self) -> Oracle:
        return Rounded(LinearOracle(), 1)


class TestScoreNoiseContract(OracleContract):
    normalised = False

    def make(self) -> Oracle:
        return ScoreNoise(LinearOracle(), 0.3)


class TestInputNoiseContract(OracleContract):
    def make(self) -> Oracle:
        return InputNoise(LinearOracle(), 0.3)


class TestQuantizedContract(OracleContract):
    def make(self) -> Oracle:
        return Quantized(LinearOracle())


def ask(oracle: Oracle, count: int) -> Scores | TopK | Labels:
    return oracle.query(torch.zeros((count, *oracle.image_shape)))


def scores_of(oracle: Oracle, count: int) -> FloatArray:
    answer = ask(oracle, count)
    assert isinstance(answer, Scores)
    return answer.values


def table(*rows: list[float]) -> FloatArray:
    return np.array(rows, dtype=np.float32)


def test_top_k_breaks_ties_by_the_lowest_class() -> None:
    answer = ask(KeepTopK(TableOracle(table([0.25, 0.3, 0.3, 0.15], [0.25, 0.25, 0.25, 0.25])), 3), 2)
    assert isinstance(answer, TopK)
    assert_array_equal(answer.classes, [[1, 2, 0], [0, 1, 2]])
    assert_array_equal(answer.values, table([0.3, 0.3, 0.25], [0.25, 0.25, 0.25]))


def test_top_k_keeps_an_exact_zero_but_not_one_below_the_floor() -> None:
    values = table([0.0, 1.0, 0.0])
    exact = ask(KeepTopK(TableOracle(values), 2), 1)
    cut = ask(KeepTopK(TableOracle(values, floor=0.1), 2), 1)
    assert isinstance(exact, TopK)
    assert isinstance(cut, TopK)
    assert_array_equal(exact.classes, [[1, 0]])
    assert_array_equal(cut.classes, [[1, MISSING]])
    assert cut.floor == 0.1


@pytest.mark.parametrize("k", [0, -1, 4])
def test_top_k_out_of_range(k: int) -> None:
    with pytest.raises(InvalidSpec, match=f"top_k is {k}; give 1 to 3"):
        KeepTopK(TableOracle(table([0.2, 0.3, 0.5])), k)


def test_label_only_names_nothing_where_every_score_is_below_the_floor() -> None:
    oracle = LabelOnly(Thresholded(TableOracle(table([0.1, 0.8, 0.1], [0.4, 0.3, 0.3])), 0.5))
    answer = ask(oracle, 2)
    assert isinstance(answer, Labels)
    assert_array_equal(answer.labels, [1, MISSING])


def test_thresholded_keeps_scores_at_the_minimum() -> None:
    answer = ask(Thresholded(TableOracle(table([0.5, 0.3, 0.2])), 0.3), 1)
    assert isinstance(answer, Scores)
    assert_array_equal(answer.values, table([0.5, 0.3, 0.0]))
    assert answer.floor == 0.3


def test_rounded_to_the_nearest_decimal_with_half_a_unit_as_floor() -> None:
    answer = ask(Rounded(TableOracle(table([0.567, 0.4299, 0.0031])), 2), 1)
    assert isinstance(answer, Scores)
    assert_array_equal(answer.values, table([0.57, 0.43, 0.0]))
    assert answer.floor == pytest.approx(0.005)


@given(
    truth=arrays(np.float32, (3, 4), elements=st.floats(0.0, 1.0, width=32)),
    decimals=st.none() | st.integers(0, 3),
    minimum=st.none() | st.floats(0.0, 1.0),
)
def test_what_was_cut_to_zero_was_not_above_the_floor(
    truth: FloatArray, decimals: int | None, minimum: float | None
) -> None:
    oracle: Oracle = TableOracle(truth)
    oracle = oracle if decimals is None else Rounded(oracle, decimals)
    answer = ask(oracle if minimum is None else Thresholded(oracle, minimum), 3)
    assert isinstance(answer, Scores)
    assert (truth[answer.values == 0.0] <= answer.floor + 1e-6).all()


def test_a_threshold_on_rounded_scores_adds_what_rounding_took() -> None:
    answer = ask(Thresholded(Rounded(TableOracle(table([0.249, 0.501, 0.25])), 1), 0.21), 1)
    assert isinstance(answer, Scores)
    assert_array_equal(answer.values, table([0.0, 0.5, 0.0]))
    assert answer.floor == pytest.approx(0.26)


def test_the_higher_floor_wins_where_only_one_rounds() -> None:
    values = table([0.567, 0.4299, 0.0031])
    single = ask(Thresholded(Rounded(TableOracle(values), 1), 0.0), 1)
    other = ask(Rounded(Thresholded(TableOracle(values), 0.1), 2), 1)
    assert isinstance(single, Scores)
    assert isinstance(other, Scores)
    assert single.floor == pytest.approx(0.05)
    assert other.floor == pytest.approx(0.1)


@pytest.mark.parametrize("decimals", [-1, 7])
def test_decimals_out_of_range(decimals: int) -> None:
    with pytest.raises(InvalidSpec, match="decimals"):
        Rounded(LinearOracle(), decimals)


@pytest.mark.parametrize("minimum", [-0.1, 1.1, float("nan")])
def test_threshold_out_of_range(minimum: float) -> None:
    with pytest.raises(InvalidSpec, match="threshold"):
        Thresholded(LinearOracle(), minimum)


@pytest.mark.parametrize(
    ("noise_std", "seed", "first"), [(-1.0, 0, 0), (float("nan"), 0, 0), (1.0, -1, 0), (1.0, 0, -1)]
)
@pytest.mark.parametrize("kind", [ScoreNoise, InputNoise])
def test_noise_out_of_range(kind: type[ScoreNoise] | type[InputNoise], noise_std: float, seed: int, first: int) -> None:
    with pytest.raises(InvalidSpec, match="noise"):
        kind(LinearOracle(), noise_std, seed, first)


def test_score_restrictions_refuse_an_answer_without_scores() -> None:
    labels = LabelOnly(LinearOracle())
    for outer in (Rounded(labels, 1), Thresholded(labels, 0.1), ScoreNoise(labels, 0.1), KeepTopK(labels, 2)):
        with pytest.raises(InvalidSpec, match="needs scores, but the oracle behind it answers Labels"):
            ask(outer, 1)
        assert outer.answered == 0


def test_noise_on_scores_refuses_an_answer_that_names_some_classes_only() -> None:
    with pytest.raises(InvalidSpec, match=r"answers the top 2; leave the oracle spec \(--oracle\) out"):
        ask(ScoreNoise(KeepTopK(LinearOracle(), 2), 0.1), 1)


@pytest.mark.parametrize(("k", "kept"), [(1, 1), (2, 2), (3, 3), (4, 3)])
def test_the_top_classes_of_an_answer_of_three_are_its_first(k: int, kept: int) -> None:
    values = table([0.25, 0.3, 0.25, 0.2], [0.1, 0.2, 0.3, 0.4])
    three = ask(KeepTopK(TableOracle(values), 3), 2)
    answer = ask(KeepTopK(KeepTopK(TableOracle(values), 3), k), 2)
    assert isinstance(three, TopK)
    assert isinstance(answer, TopK)
    assert_array_equal(answer.classes, three.classes[:, :kept])
    assert_array_equal(answer.values, three.values[:, :kept])


@given(
    truth=arrays(np.float32, (3, 4), elements=st.floats(0.0, 1.0, width=32)),
    k=st.integers(1, 4),
    minimum=st.floats(0.0, 1.0),
)
def test_a_threshold_on_the_top_classes_names_those_that_it_leaves(truth: FloatArray, k: int, minimum: float) -> None:
    top, answer = KeepTopK(TableOracle(truth), k), ask(Thresholded(KeepTopK(TableOracle(truth), k), minimum), 3)
    whole = ask(top, 3)
    assert isinstance(whole, TopK)
    assert isinstance(answer, TopK)
    left = whole.values >= np.float32(minimum)
    assert_array_equal(answer.classes, np.where(left, whole.classes, MISSING))
    assert_array_equal(answer.values, np.where(left, whole.values, np.float32(0.0)))
    assert answer.floor == minimum


def test_rounded_top_classes_are_missing_where_they_come_to_nothing() -> None:
    answer = ask(Rounded(KeepTopK(TableOracle(table([0.567, 0.4299, 0.0031])), 3), 2), 1)
    assert isinstance(answer, TopK)
    assert_array_equal(answer.classes, [[0, 1, MISSING]])
    assert_array_equal(answer.values, table([0.57, 0.43, 0.0]))
    assert answer.floor == pytest.approx(0.005)


def test_quantized_sends_what_eight_bits_hold() -> None:
    model = LinearOracle()
    images = random_images(8)
    Quantized(model).query(images)
    expected = np.round(images.numpy().astype(np.float64) * 255).astype(np.uint8)
    assert_array_equal(model.batches[0].numpy(), expected.astype(np.float32) / np.float32(255))


def test_score_noise_has_the_stated_spread_and_is_clipped_not_renormalised() -> None:
    values = np.full((4000, 2), 0.5, dtype=np.float32)
    noisy = scores_of(ScoreNoise(TableOracle(values), 0.05, seed=3), 4000)
    assert noisy.mean() == pytest.approx(0.5, abs=0.003)
    assert noisy.std() == pytest.approx(0.05, abs=0.002)
    assert noisy.sum(axis=1).std() > 0.05
    extreme = scores_of(ScoreNoise(TableOracle(values), 10.0, seed=3), 4000)
    assert extreme.min() == 0.0
    assert extreme.max() == 1.0


def test_input_noise_has_the_stated_spread_and_is_clipped() -> None:
    model = LinearOracle()
    InputNoise(model, 0.1, seed=3).query(torch.full((400, 3, 4, 4), 0.5))
    InputNoise(model, 10.0, seed=3).query(torch.full((400, 3, 4, 4), 0.5))
    assert float(model.batches[0].mean()) == pytest.approx(0.5, abs=0.005)
    assert float(model.batches[0].std()) == pytest.approx(0.1, abs=0.005)
    assert (float(model.batches[1].min()), float(model.batches[1].max())) == (0.0, 1.0)


def test_noise_differs_by_seed_and_by_purpose() -> None:
    values = np.full((64, 2), 0.5, dtype=np.float32)
    single, same, other = (scores_of(ScoreNoise(TableOracle(values), 0.05, seed), 64) for seed in (1, 1, 2))
    assert_array_equal(single, same)
    assert (single != other).mean() > 0.9
    rows = {row.tobytes() for row in single}
    assert len(rows) == 64, "no two queries share their noise"


batches = st.lists(st.integers(1, 90), min_size=1, max_size=5)


@settings(max_examples=30, deadline=None)
@given(sizes=batches, kept=st.integers(0, 5))
def test_noise_is_a_function_of_the_ordinal_alone(sizes: list[int], kept: int) -> None:
    total, first = sum(sizes), sum(sizes[:kept])
    images = random_images(total)
    whole, split, resumed = LinearOracle(), LinearOracle(), LinearOracle()
    expected = noisy(whole).query(images)
    assert isinstance(expected, Scores)
    parts, at = [], 0
    oracle = noisy(split)
    for size in sizes:
        answer = oracle.query(images[at : at + size])
        assert isinstance(answer, Scores)
        parts.append(answer.values)
        at += size
    assert_array_equal(np.concatenate(parts), expected.values)
    if first < total:
        rest = noisy(resumed, first).query(images[first:])
        assert isinstance(rest, Scores)
        assert_array_equal(rest.values, expected.values[first:])


def noisy(model: Oracle, first: int = 0) -> Oracle:
    return ScoreNoise(InputNoise(model, 0.1, seed=5, first=first), 0.1, seed=5, first=first)


def test_a_failed_query_uses_up_no_noise() -> None:
    images = random_images(3)
    model = LinearOracle(failing=True)
    oracle = noisy(model)
    with pytest.raises(Exception, match="told to fail"):
        oracle.query(images)
    model.failing = False
    again, fresh = oracle.query(images), noisy(LinearOracle()).query(images)
    assert isinstance(again, Scores)
    assert isinstance(fresh, Scores)
    assert_array_equal(again.values, fresh.values)


def test_nan_scores_stay_visible() -> None:
    values = np.full((1, 3), np.nan, dtype=np.float32)
    for oracle in (
        Rounded(TableOracle(values), 2),
        Thresholded(TableOracle(values), 0.5),
        ScoreNoise(TableOracle(values), 0.1),
        KeepTopK(TableOracle(values), 2),
    ):
        answer = ask(oracle, 1)
        assert not isinstance(answer, Labels)
        assert np.isnan(answer.values).all()
