"""The decision rules on sizes whose answer is known, and the sequential test's error rates."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from simkit.errors import ConfigError
from simkit.triggers import Trigger
from simkit.verdict import (
    RULES,
    ClassResult,
    SequentialTest,
    below_median,
    deviations_below,
    is_chance,
    lower_anomaly_index,
    on_one_scale,
    small_patch,
    stored_rule,
)

SIZES = st.lists(st.floats(0, 1000), min_size=1, max_size=12)


def results(sizes: list[float], censored: tuple[int, ...] = (), rates: list[float] | None = None) -> list[ClassResult]:
    blank = Trigger(np.zeros((1, 2, 2), np.float32), np.zeros((1, 2, 2), np.float32))
    observed = rates or [1.0] * len(sizes)
    return [ClassResult(c, blank, s, observed[c], c in censored) for c, s in enumerate(sizes)]


@pytest.mark.parametrize(
    ("sizes", "censored", "flagged", "score"),
    [
        ([4.0, 40.0, 44.0, 36.0], (), (0,), math.log(38 / 4)),
        ([10.0, 40.0, 40.0, 40.0], (), (), math.log(4)),  # a quarter is not below a quarter
        ([9.9, 40.0, 40.0, 40.0], (), (0,), math.log(40 / 9.9)),
        ([4.0, 40.0, 44.0, 36.0], (0,), (), math.log(38 / 36)),
        ([4.0, 40.0, 44.0, 36.0], (1, 2), (0,), math.log(38 / 4)),  # bounds count in the median as they stand
        ([4.0, 40.0], (0, 1), (), 0.0),
        ([0.0, 0.0, 0.0], (), (), 0.0),
        ([0.0, 8.0, 8.0], (), (0,), math.log(8)),  # below one pixel counts as one
        ([40.0, 40.0, 40.0, 4000.0], (), (), 0.0),
        ([5.0, 5.0, 60.0, 60.0, 60.0], (), (0, 1), math.log(12)),
    ],
)
def test_below_a_quarter_of_the_median(
    sizes: list[float], censored: tuple[int, ...], flagged: tuple[int, ...], score: float
) -> None:
    decision = below_median(results(sizes, censored), 0.25)
    assert decision.flagged == flagged
    assert decision.score == pytest.approx(score)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=12), st.sampled_from(sorted(RULES.keys() - {"small_share"})))
def test_a_class_is_flagged_below_the_limit_of_its_size(counts: list[int], name: str) -> None:
    rule, sizes = RULES[name], [float(count) for count in counts]
    limit = rule.size_limit(sizes)
    assert limit is not None
    assume(all(abs(size - limit) > 1e-6 for size in sizes))
    below = tuple(c for c, size in enumerate(sizes) if max(size, float(name == "below_median")) < limit)
    assert rule(results(sizes)).flagged == below


def test_the_limits_of_known_sizes() -> None:
    sizes = [4.0, 40.0, 44.0, 36.0]
    assert RULES["below_median"].size_limit(sizes) == 0.25 * 38.0
    assert RULES["anomaly_index"].size_limit(sizes) == pytest.approx(38.0 - 2.0 * 1.4826 * 4.0, abs=1e-3)
    assert RULES["small_patch"].size_limit(sizes) == 16.0
    assert RULES["below_median"].size_limit([]) is None


def test_a_stored_rule_has_the_stored_threshold() -> None:
    rule = stored_rule("below_median", 0.5)
    assert rule is not None
    assert rule.size_limit([4.0, 8.0]) == 3.0
    assert stored_rule("of another simkit", 0.5) is None
    assert stored_rule("below_median", None) is None


@st.composite
def verified(draw: st.DrawFn) -> ClassResult:
    """A class of an 8x8 image as a search or a verdict may have it."""
    trials = draw(st.integers(0, 40))
    hits, size = draw(st.integers(0, trials)), draw(st.floats(0.0, 64.0))
    rate = hits / trials if trials else draw(st.none() | st.floats(0.0, 1.0))
    blank = Trigger(np.zeros((1, 8, 8), np.float32), np.zeros((1, 8, 8), np.float32))
    return ClassResult(0, blank, size, rate, draw(st.booleans()), trials)


CLASSES = st.lists(verified(), min_size=1, max_size=8)
LIMITS = st.sampled_from([0.0, 1e-3, 1 / 64, 0.25, 1.0, 2.0, 4.0, 16.0, 64.0]) | st.floats(0.0, 70.0)


def alone(classes: list[ClassResult], chosen: int) -> list[ClassResult]:
    """The classes, of which only the chosen one has a score."""
    return [c if n == chosen else replace(c, censored=True, success_rate=None) for n, c in enumerate(classes)]


@given(CLASSES, st.sampled_from(sorted(RULES)), LIMITS)
def test_every_class_is_flagged_just_when_its_score_is_above_the_threshold(
    drawn: list[ClassResult], name: str, limit: float
) -> None:
    rule, classes = replace(RULES[name], threshold=limit), [replace(c, target_class=n) for n, c in enumerate(drawn)]
    threshold, decision = rule.score_threshold, rule(classes)
    if threshold is None:
        assert (name, limit, decision.flagged) == ("below_median", 0.0, ())
        return
    assert bool(decision.flagged) == (decision.score > threshold)
    scores = [rule(alone(classes, n)) for n in range(len(classes))]
    assert decision.flagged == tuple(n for n, one in enumerate(scores) if one.score > threshold)
    scored = [one.score for one, c in zip(scores, classes, strict=True) if name.startswith("small") or not c.censored]
    assert decision.score == max(scored, default=min(0.0, threshold))


@given(CLASSES, st.sampled_from(sorted(RULES)), LIMITS, st.data())
def test_a_verdict_that_flags_nothing_has_no_score_above_the_threshold(
    drawn: list[ClassResult], name: str, limit: float, data: st.DataObject
) -> None:
    """Whichever of the classes that the rule flags unseen images confirm."""
    rule, classes = replace(RULES[name], threshold=limit), [replace(c, target_class=n) for n, c in enumerate(drawn)]
    decision, threshold = rule(classes), rule.score_threshold
    confirmed = [c for c in decision.flagged if data.draw(st.booleans())]
    score = rule.confirmed_score(classes, confirmed)
    assert threshold is None or bool(confirmed) == (score > threshold)
    assert score <= decision.score
    assert confirmed or score == rule.confirmed_score(classes, ())


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 40)), min_size=2, max_size=2))
def test_what_is_not_flagged_keeps_its_order(tried: list[tuple[int, int]]) -> None:
    """By the success rate, as before the scores of small triggers had a threshold."""
    blank = Trigger(np.zeros((1, 8, 8), np.float32), np.zeros((1, 8, 8), np.float32))
    rates = [min(hits, trials) / trials for hits, trials in tried]
    first, second = (RULES["small_patch"]([ClassResult(0, blank, 4.0, rate, True, 40)]).score for rate in rates)
    assert (first > second, first == second) == (rates[0] > rates[1], rates[0] == rates[1])
    assert 0.0 < min(first, second) <= max(first, second) < 1.0


def test_a_stored_verdict_from_before_has_its_limit_as_its_threshold() -> None:
    assert on_one_scale("below_median", 0.25, None) == (-math.log(0.25), 0.25)
    assert on_one_scale("anomaly_index", 2.0, None) == (2.0, 2.0)
    assert on_one_scale("small_share", 1 / 64, None) == (None, 1 / 64), "its score was no success of a working trigger"
    assert on_one_scale("small_share", 1.0, 1 / 64) == (1.0, 1 / 64)
    assert on_one_scale("of another simkit", 0.5, None) == (None, 0.5)
    assert on_one_scale("Aeva", None, None) == (None, None)


def test_the_thresholds_of_the_scores() -> None:
    assert RULES["small_patch"].score_threshold == RULES["small_share"].score_threshold == 1.0
    assert replace(RULES["below_median"], threshold=0.0).score_threshold is None, "a threshold that no score reaches"
    assert RULES["below_median"].score_threshold == pytest.approx(math.log(4))


@pytest.mark.parametrize(
    ("sizes", "censored", "flagged", "score"),
    [
        ([10.0, 30.0, 32.0, 34.0, 36.0], (), (0,), 22 / (2 * 1.482602)),
        ([30.0, 32.0, 34.0, 36.0, 500.0], (), (), 4 / (2 * 1.482602)),  # only small ones are suspicious
        ([10.0, 30.0, 32.0, 34.0, 36.0], (0,), (), 2 / (2 * 1.482602)),
        ([10.0, 30.0, 30.0, 30.0, 30.0], (), (0,), 40.0),  # MAD 0: half a pixel
        ([29.5, 30.0, 30.0, 30.0, 30.0], (), (), 1.0),
        ([0.0, 0.0, 0.0], (), (), 0.0),
        ([7.0, 7.0], (0, 1), (), 0.0),
    ],
)
def test_the_lower_anomaly_index(
    sizes: list[float], censored: tuple[int, ...], flagged: tuple[int, ...], score: float
) -> None:
    decision = lower_anomaly_index(results(sizes, censored), 2.0)
    assert decision.flagged == flagged
    assert decision.score == pytest.approx(score, rel=1e-5)


@given(SIZES)
def test_the_anomaly_index_is_numpys(sizes: list[float]) -> None:
    values = np.array(sizes)
    deviation = max(1.482602218505602 * np.median(np.abs(values - np.median(values))), 0.5)
    index = (np.median(values) - values) / deviation
    decision = lower_anomaly_index(results(sizes), 2.0)
    assert decision.score == pytest.approx(index.max())
    assert decision.flagged == tuple(np.flatnonzero(index > 2.0))


def test_the_anomaly_index_of_the_upper_side_is_that_of_a_published_example() -> None:
    """The peaks and indices that the readme of AEVA's released code prints."""
    peaks = [0.14533126, 0.08231069, 0.06113102, 0.06526258, 0.06199296, 0.06474132, 0.05325177, 0.06903553, 0.09275569]
    index = deviations_below(-np.array([*peaks, 0.07373303]), 1e-9)
    observed = [8.36901293, 1.62297756, -0.64420006, -0.20193759, -0.55193415, -0.25773579, -1.48763492, 0.20193759]
    assert index.tolist() == pytest.approx([*observed, 2.7410618, 0.70478146], abs=2e-4)
    assert deviations_below(np.full(3, 7.0), 0.5).tolist() == [0.0, 0.0, 0.0]


@given(SIZES, st.sampled_from(["below_median", "anomaly_index"]))
def test_at_most_half_of_the_classes_stand_out(sizes: list[float], rule: str) -> None:
    decision = RULES[rule](results(sizes))
    assert len(decision.flagged) <= len(sizes) / 2
    assert bool(decision.flagged) == (decision.score > (math.log(4) if rule == "below_median" else 2.0))


@given(SIZES, st.sampled_from(sorted(RULES)))
def test_a_censored_class_is_never_flagged(sizes: list[float], rule: str) -> None:
    everyone = tuple(range(len(sizes)))
    assert RULES[rule](results(sizes, everyone)).flagged == ()


def test_a_small_patch_needs_no_other_class() -> None:
    decision = small_patch(results([16.0, 16.5, 9.0, 4.0], censored=(2,), rates=[0.9, 1.0, 0.95, 0.7]), 16.0)
    assert decision.flagged == (0, 3)
    assert decision.score == 1.0 + (0.9 + 0.5) / 2
    assert small_patch(results([17.0]), 16.0).flagged == ()
    assert small_patch(results([17.0]), 16.0).score == 0.0


def test_the_rules_carry_their_thresholds() -> None:
    assert {name: rule.threshold for name, rule in RULES.items()} == {
        "below_median": 0.25,
        "anomaly_index": 2.0,
        "small_patch": 16.0,
        "small_share": 1 / 64,
    }
    assert all(rule.name == name and rule.source for name, rule in RULES.items())


def test_fourteen_straight_hits_accept_and_six_straight_misses_reject() -> None:
    test = SequentialTest()
    assert [test.decide(n, n) for n in (0, 13, 14)] == [None, None, True]  # 13 log 1.7 is 6.898, log 999 is 6.907
    assert [test.decide(0, n) for n in (5, 6)] == [None, False]
    assert test.log_ratio(13, 13) == pytest.approx(13 * math.log(1.7))
    assert test.log_ratio(2, 3) == pytest.approx(2 * math.log(1.7) + math.log(0.3))


@pytest.mark.parametrize(("rate", "wrong"), [(0.85, False), (0.5, True)])
def test_the_sequential_test_errs_as_rarely_as_it_says(rate: float, wrong: bool) -> None:
    test, runs = SequentialTest(alpha=0.05, beta=0.05), 1000
    draws = np.random.default_rng(1).random((runs, 200)) < rate
    errors = sum(_decision(test, row) is wrong for row in draws)
    # Wald: at most 0.05 / 0.95; three standard deviations above that, and not zero, for then it would be wasteful.
    assert 5 <= errors <= 53 + 21


def _decision(test: SequentialTest, draws: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> bool | None:
    hits = np.cumsum(draws)
    message = (test.decide(int(hits[n]), n + 1) for n in range(len(draws)))
    return next((word for word in message if word is not None), None)


@pytest.mark.parametrize(
    "change", [{"works": 0.5}, {"fails": 0.0}, {"works": 1.0}, {"alpha": 0.0}, {"beta": 0.5}, {"fails": 0.9}]
)
def test_an_impossible_test_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="need 0 < fails < works < 1"):
        SequentialTest(**change)


@pytest.mark.parametrize(
    ("correct", "images", "n_classes", "chance"),
    [(64, 64, 10, False), (6, 64, 10, True), (0, 64, 10, True), (2, 2, 10, True), (3, 3, 10, False), (32, 64, 2, True)],
)
def test_chance_accuracy(correct: int, images: int, n_classes: int, chance: bool) -> None:
    # (2, 2, 10): 1 in 100 guesses so well, which is just not below the level; (3, 3, 10): 1 in 1000.
    assert is_chance(correct, images, n_classes) is chance


@given(st.integers(1, 300) | st.integers(990, 1010), st.integers(1, 100), st.data())
def test_chance_is_that_of_a_binomial_test(images: int, n_classes: int, data: st.DataObject) -> None:
    correct = data.draw(st.integers(0, images))
    reference = stats.binomtest(correct, images, 1 / n_classes, alternative="greater").pvalue
    assert is_chance(correct, images, n_classes) is bool(reference > 0.01)


@given(st.lists(st.floats(0.0, 1e4, width=32), min_size=1, max_size=30), st.floats(1e-6, 2.0))
def test_deviations_are_those_of_scipy(values: list[float], least: float) -> None:
    array = np.array(values)
    reference = max(float(stats.median_abs_deviation(array, scale="normal")), least)
    assert deviations_below(array, least).tolist() == ((np.median(array) - array) / reference).tolist()


def test_a_small_share_is_of_the_image_and_never_less_than_a_pixel() -> None:
    def found(size: int, side: int, *, censored: bool = False) -> ClassResult:
        mask = np.zeros((1, side, side), np.float32)
        mask.reshape(-1)[:size] = 1.0
        return ClassResult(0, Trigger(mask, np.zeros((3, side, side), np.float32)), float(size), 0.9, censored)

    rule = RULES["small_share"]
    assert rule([found(16, 32)]).flagged == (0,)
    assert rule([found(17, 32)]).flagged == ()
    assert rule([found(144, 96)]).flagged == (0,)
    assert rule([found(1, 4)]).flagged == (0,)
    assert rule([found(2, 4)]).flagged == ()
    assert rule([found(1, 32, censored=True)]).flagged == ()
    assert rule.size_limit([4.0]) is None
