"""Medians, rankings and McNemar's test, against values known from elsewhere."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from simkit.verdict import Kind
from studies.statistics import (
    Average,
    Forecast,
    forecast,
    holm,
    likelihood_ratio,
    mcnemar,
    ranking,
    separated,
    share,
    spread,
    verdicts_first,
)

SCORES = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=30)
"""From few values, so that there are ties."""


def test_median_and_p90_are_of_the_amounts() -> None:
    known = spread([10, 1, 2, 3, 4, 5, 6, 7, 8, 900])
    assert (known.count, known.median, known.p90, known.total) == (10, 5.5, 10.0, 946)
    assert spread([7]).p90 == 7.0
    assert spread([]) == spread(())
    assert spread([]).median is None


@given(st.integers(1, 500), st.data())
def test_the_interval_of_a_share_is_the_wilson_interval_of_scipy(trials: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, trials))
    known = stats.binomtest(hits, trials).proportion_ci(method="wilson")
    assert (share(hits, trials).low, share(hits, trials).high) == (float(known.low), float(known.high))


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [(0, 0, 1.0), (0, 1, 1.0), (0, 5, 2 / 32), (6, 1, 16 / 128), (3, 3, 1.0), (2, 12, 212 / 16384)],
)
def test_mcnemar_is_a_binomial_test_of_the_discordant(only_first: int, only_second: int, p: float) -> None:
    assert mcnemar(only_first, only_second) == pytest.approx(p)
    assert mcnemar(only_second, only_first) == pytest.approx(p)


@settings(deadline=None)  # an interval is drawn for each
@given(SCORES, SCORES)
def test_auroc_is_the_share_of_pairs_in_order(backdoored: list[float], clean: list[float]) -> None:
    known = stats.mannwhitneyu(backdoored, clean).statistic / (len(backdoored) * len(clean))
    found = ranking(backdoored, clean)
    assert found.auroc == pytest.approx(known)
    assert found.unscored == 0


def test_no_score_accuses_nobody() -> None:
    assert ranking([2.0, None], [1.0, 0.0]).auroc == pytest.approx(0.5)
    assert ranking([2.0, 2.0], [1.0, None]).auroc == 1.0
    assert ranking([None, 1.0], [None]).auroc == 0.75
    assert ranking([None], [None]).auroc is None
    assert ranking([None, 3.0], [1.0, None]).unscored == 2


def test_one_kind_alone_ranks_nothing() -> None:
    assert ranking([1.0, None], []).auroc is None
    assert ranking([], [1.0]).auroc is None


def test_the_interval_is_of_the_bootstrap_and_the_same_every_time() -> None:
    draws = np.random.default_rng(5)
    backdoored, clean = draws.normal(1.5, 1.0, 200).tolist(), draws.normal(0.0, 1.0, 200).tolist()
    found = ranking(backdoored, clean)
    assert found == ranking(backdoored, clean)
    assert found.auroc is not None
    assert found.low is not None
    assert found.high is not None
    # Hanley and McNeil's standard error for this area and these numbers
    area, n = found.auroc, 200
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    error = np.sqrt((area * (1 - area) + (n - 1) * (first - area**2) + (n - 1) * (second - area**2)) / n**2)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.15)
    assert found.low < area < found.high


def test_the_interval_of_a_perfect_parting_has_a_width() -> None:
    found, turned = ranking([2.0, 3.0, 4.0], [1.0, 0.0]), ranking([0.0, 1.0], [2.0, 3.0, 4.0])
    assert (found.auroc, found.high, turned.auroc, turned.low) == (1.0, 1.0, 0.0, 0.0)
    assert found.low == separated(3, 2)
    assert turned.high == 1.0 - separated(2, 3)
    assert ranking([1.0, 1.0], [1.0]).low is None  # ties alone say nothing


@given(st.integers(1, 300), st.integers(1, 300))
def test_the_end_of_a_perfect_parting_is_two_standard_errors_from_one(backdoored: int, clean: int) -> None:
    area = separated(backdoored, clean)
    first, second = area / (2 - area), 2 * area**2 / (1 + area)  # of Hanley and McNeil
    mean = (backdoored + clean) / 2 - 1
    variance = area * (1 - area) + mean * (first - area**2) + mean * (second - area**2)
    assert 1 - area == pytest.approx(1.959964 * np.sqrt(variance / (backdoored * clean)), rel=1e-4)
    assert separated(backdoored + 1, clean) > area


def test_a_perfect_parting_of_few_happens_at_areas_within_its_interval() -> None:
    """From areas below the interval, 6 and 6 victims part perfectly less often than in 1 of 20 draws."""
    low, draws = separated(6, 6), np.random.default_rng(3)
    shift = np.sqrt(2) * stats.norm.ppf(low - 0.02)
    parted = draws.normal(shift, 1, (20_000, 6)).min(1) > draws.normal(0, 1, (20_000, 6)).max(1)
    assert parted.mean() < 0.05


def test_holm_known_answers() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
    assert holm([0.2]) == [0.2]


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_keeps_the_order_and_never_lowers(values: list[float]) -> None:
    adjusted = holm(values)
    assert all(p <= q <= 1 for p, q in zip(values, adjusted, strict=True))
    assert [q for _, q in sorted(zip(values, adjusted, strict=True))] == sorted(adjusted)


def test_verdicts_come_before_scores_on_demand() -> None:
    told: list[tuple[Kind, float | None]] = [
        ("clean", 2.0),
        ("backdoored", 0.5),
        ("clean", 1.0),
        ("undecided", 0.0),
        ("invalid", None),
    ]
    assert verdicts_first(told) == [1.0, 3.0, 0.0, 2.0, None]
    assert verdicts_first([]) == []


def test_a_likelihood_ratio_and_its_interval_are_those_of_the_posterior() -> None:
    found = likelihood_ratio((90, 99), (500_000, 1_000_000))  # the second rate is known: 0.5
    assert found.value == pytest.approx(0.905 / 0.5, rel=1e-4)
    known = stats.beta(90.5, 9.5).ppf([0.025, 0.975]) / 0.5
    assert [found.low, found.high] == pytest.approx(known, rel=0.01)
    turned = likelihood_ratio((500_000, 1_000_000), (90, 99))
    assert (turned.value, turned.low, turned.high) == pytest.approx(
        (1 / found.value, 1 / known[1], 1 / known[0]), rel=0.01
    )
    assert likelihood_ratio((0, 0), (0, 0)).value == 1.0


def test_the_interval_of_a_likelihood_ratio_holds_the_true_one() -> None:
    draws = np.random.default_rng(1)
    for rates, trials in (((0.9, 0.05), (12, 12)), ((0.97, 0.02), (12, 52)), ((0.1, 0.98), (12, 52))):
        hits = zip(*(draws.binomial(n, p, 400).tolist() for p, n in zip(rates, trials, strict=True)), strict=True)
        found = [likelihood_ratio((a, trials[0]), (b, trials[1])) for a, b in hits]
        assert np.mean([one.low <= rates[0] / rates[1] <= one.high for one in found]) > 0.94


def test_forecast_known_answers() -> None:
    found = forecast([(0.8, True), (0.8, False), (0.2, False)])
    assert found.cross_entropy is not None
    assert found.brier is not None
    assert found.cross_entropy.value == pytest.approx(-(2 * np.log(0.8) + np.log(0.2)) / 3)
    assert found.brier.value == pytest.approx((0.04 + 0.64 + 0.04) / 3)
    error = np.std([0.04, 0.64, 0.04], ddof=1) / np.sqrt(3)
    assert found.brier.high == pytest.approx(found.brier.value + 1.959964 * error)
    assert [(b.low, b.mean, b.backdoored.hits, b.backdoored.trials) for b in found.reliability] == [
        (0.2, 0.2, 0, 1),
        (0.8, 0.8, 1, 2),
    ]
    unsure = forecast([(0.5, True), (0.5, False)])
    assert unsure.cross_entropy == Average(-math.log(0.5), None, None)
    assert unsure.brier == Average(0.25, None, None)
    assert forecast([]) == Forecast(0, None, None, ())


@given(st.lists(st.tuples(st.floats(1e-9, 1 - 1e-9), st.booleans()), min_size=1, max_size=30))
def test_every_victim_is_in_one_bin_that_holds_its_probability(stated: list[tuple[float, bool]]) -> None:
    found = forecast(stated)
    assert sum(b.backdoored.trials for b in found.reliability) == found.victims == len(stated)
    assert all(b.low - 1e-12 <= b.mean <= b.high + 1e-12 for b in found.reliability)
    assert found.brier is not None
    assert 0 <= found.brier.value < 1
