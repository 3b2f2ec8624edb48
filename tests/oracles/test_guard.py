"""Rate limits, near-duplicates, and the clock that both sides keep: known answers, and what no schedule may break."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from oracles import guard
from oracles.budget import Budget
from oracles.errors import BudgetExhausted, InvalidSpec, RateExceeded, Refused
from oracles.guard import (
    FINGERPRINT,
    Limiter,
    NearDuplicateBlock,
    Patient,
    RateLimit,
    RateLimited,
    ServiceClock,
    WallClock,
    fingerprints,
    near_duplicates,
)
from oracles.meter import MemoryRecorder
from oracles.oracle import Oracle
from oracles.spec import OracleSpec, build
from tests.contracts.oracle import OracleContract
from tests.oracles.fakes import LinearOracle, random_images

TEN = RateLimit(10, 1, 10)


class TestRateLimitedContract(OracleContract):
    def make(self) -> Oracle:
        return RateLimited(LinearOracle(), TEN, ServiceClock())


class TestRefusingContract(OracleContract):
    def make(self) -> Oracle:
        clock = ServiceClock()
        return Patient(RateLimited(LinearOracle(), TEN, clock, refuse=True), clock, 0.1, 0.2)


class TestNearDuplicateBlockContract(OracleContract):
    def make(self) -> Oracle:
        return NearDuplicateBlock(LinearOracle(), 0.01)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("10/second", RateLimit(10, 1, 10)),
        ("1800 images/minute", RateLimit(1800, 60, 1800)),
        ("15 calls/second", RateLimit(15, 1, 15, calls=True)),
        ("1/hour", RateLimit(1, 3600, 1)),
        ("1000/day", RateLimit(1000, 86400, 1000)),
    ],
)
def test_a_rate_limit_is_read(text: str, limit: RateLimit) -> None:
    assert RateLimit.parse(text) == limit
    assert RateLimit.parse(text, 3).burst == 3


@pytest.mark.parametrize("text", ["", "10", "0/second", "-1/second", "10/fortnight", "1.5/second", "ten/second", "1/s"])
def test_another_text_is_no_rate_limit(text: str) -> None:
    with pytest.raises(InvalidSpec, match="15 calls/second"):
        RateLimit.parse(text)


@pytest.mark.parametrize(
    ("limit", "calls", "seconds"),
    [
        (RateLimit(10, 1, 10), [10], 0.0),
        (RateLimit(10, 1, 10), [10, 1], 0.1),
        (RateLimit(10, 1, 10), [25], 1.5),
        (RateLimit(10, 1, 1), [3, 3], 0.5),
        (RateLimit(60, 60, 5), [5, 5, 5], 10.0),
        (RateLimit(2, 1, 1, calls=True), [100, 100, 100], 1.0),
    ],
)
def test_how_long_calls_have_to_wait(limit: RateLimit, calls: list[int], seconds: float) -> None:
    clock = ServiceClock()
    oracle = RateLimited(LinearOracle(), limit, clock)
    for images in calls:
        oracle.query(random_images(images))
    assert clock.seconds == pytest.approx(seconds, abs=0.002)


def test_a_call_too_soon_is_refused_and_told_when_to_come() -> None:
    model, clock = LinearOracle(), ServiceClock()
    oracle = RateLimited(model, TEN, clock, refuse=True)
    oracle.query(random_images(10))
    with pytest.raises(RateExceeded) as refused:
        oracle.query(random_images(4))
    assert (refused.value.retry_after, refused.value.reason, refused.value.queries) == (0.4, "rate", 4)
    assert clock.seconds == 0.0
    assert model.images_seen == 10
    clock.advance(0.4)
    oracle.query(random_images(4))


def test_a_client_comes_again_and_every_refusal_is_recorded() -> None:
    model, recorder, budget, clock = LinearOracle(), MemoryRecorder(), Budget(100), ServiceClock()
    spec = OracleSpec(rate_limit="10/second", rate_policy="refuse", seconds_per_query=0.01)
    oracle = build(spec, model, budget, recorder, clock=clock)
    for _ in range(3):
        oracle.query(random_images(10))
    assert recorder.refusals == [(None, 10, "rate")] * 2
    assert (model.images_seen, budget.spent, len(recorder.calls)) == (30, 30, 3)
    assert clock.seconds == pytest.approx(2.0 + 0.1, abs=0.003)


calls = st.lists(st.tuples(st.integers(1, 40), st.floats(0.0, 3.0)), min_size=1, max_size=30)
limits = st.builds(RateLimit, st.integers(1, 50), st.sampled_from([1, 60]), st.integers(1, 60), st.booleans())


@given(limits, calls, st.booleans())
def test_never_more_than_rate_times_t_plus_burst(
    limit: RateLimit, asked: list[tuple[int, float]], refuse: bool
) -> None:
    clock, granted = ServiceClock(), [(0.0, 0)]
    limited = RateLimited(LinearOracle(image_shape=(1, 1, 1)), limit, clock, refuse)
    oracle = Patient(limited, clock)
    for images, pause in asked:
        clock.advance(pause)
        oracle.query(random_images(images, (1, 1, 1)))
        granted.append((clock.seconds, 1 if limit.calls else images))
    times, units = (np.array(column) for column in zip(*granted, strict=True))
    total = np.cumsum(units)
    for start in range(1, len(times)):
        # a call that is larger than the burst is done when its last image is: whole calls fit the bound at their ends
        through = total[start:] - total[start - 1]
        since = times[start - 1] if start > 1 else 0.0
        assert (through <= limit.limit / limit.seconds * (times[start:] - since) + limit.burst + 1e-6).all()


def test_the_clock_counts_and_sleeps_only_in_real_time(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    simulated, real = ServiceClock(), ServiceClock(real=True)
    for clock in (simulated, real):
        clock.advance(1.25)
        clock.advance(0.0)
        assert (clock.seconds, clock.now()) == (1.25, 1250)
    assert slept == [1.25]
    past = True
    real.skip(lambda: past)
    real.advance(2.0)
    past = False
    real.advance(0.5)
    assert (real.seconds, slept) == (3.75, [1.25, 0.5])


def test_an_interrupted_wait_asks_and_records_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupted)
    model, recorder, budget = LinearOracle(), MemoryRecorder(), Budget(2)
    oracle = build(OracleSpec(rate_limit="1/day", real_time=True), model, budget, recorder)
    oracle.query(random_images(1))
    with pytest.raises(KeyboardInterrupt):
        oracle.query(random_images(1))
    assert (model.images_seen, budget.spent, len(recorder.calls), recorder.refusals) == (1, 1, 1, [])


def test_fingerprints_are_as_far_apart_as_the_images() -> None:
    images = random_images(200, (3, 32, 32))
    marks = fingerprints(images).astype(np.float64)
    actual = np.linalg.norm(marks[:100] - marks[100:], axis=1)
    true = (images[:100] - images[100:]).square().mean(dim=(1, 2, 3)).sqrt().numpy()
    assert abs(np.mean(actual / true) - 1.0) < 0.03
    assert np.std(actual / true) == pytest.approx(1 / math.sqrt(2 * FINGERPRINT), rel=0.3)


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_a_repeated_call_is_refused_and_free(noise: float) -> None:
    model, recorder, budget = LinearOracle(), MemoryRecorder(), Budget(100)
    oracle = build(OracleSpec(near_duplicate=0.03), model, budget, recorder)
    first = random_images(8)
    oracle.query(first)
    with pytest.raises(Refused, match="a call of 8 queries: too many of its images are near-duplicates"):
        oracle.query((first + noise * torch.randn(first.shape)).clamp(0, 1))
    assert recorder.refusals == [(None, 8, "near_duplicate")]
    assert (model.images_seen, budget.spent) == (8, 8)
    oracle.query(random_images(8, seed=2))
    assert budget.spent == 16


def test_a_share_may_be_near_and_more_may_not() -> None:
    first, new = random_images(4), random_images(4, seed=2)
    oracle = NearDuplicateBlock(LinearOracle(), 0.03, share=0.5)
    oracle.query(first)
    oracle.query(torch.cat([first[:2], new[:2]]))
    with pytest.raises(Refused):
        oracle.query(torch.cat([first[:3], new[2:3]]))


def test_images_of_one_call_are_near_each_other() -> None:
    with pytest.raises(Refused):
        NearDuplicateBlock(LinearOracle(), 0.03).query(random_images(1).repeat(3, 1, 1, 1))


def test_the_window_forgets_and_what_was_refused_or_failed_is_not_in_it() -> None:
    model = LinearOracle()
    oracle = NearDuplicateBlock(model, 0.03, window=4)
    first, other = random_images(4), random_images(4, seed=2)
    oracle.query(first)
    model.failing = True
    with pytest.raises(Exception, match="told to fail"):
        oracle.query(other)
    model.failing = False
    with pytest.raises(Refused):
        oracle.query(first)
    oracle.query(other)
    oracle.query(first)


@given(
    st.integers(0, 6),
    st.integers(1, 9),
    st.integers(1, 7),
    st.floats(0.05, 1.0),
    st.integers(0, 2**32),
    st.integers(1, 4),
)
def test_blocks_find_what_a_plain_loop_finds(
    seen: int, now: int, window: int, distance: float, seed: int, block: int
) -> None:
    rows = np.random.default_rng(seed).integers(0, 3, (seen + now, 2)) / 2.0
    wanted = 0
    for i in range(seen, seen + now):
        before = rows[max(0, i - window) : i]
        wanted += bool((np.linalg.norm(before - rows[i], axis=1) <= distance - 1e-9).any())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guard, "_BLOCK", block)
        assert near_duplicates(rows[seen:], rows[:seen], distance - 1e-9, window) == wanted


def test_the_budget_refuses_behind_the_guards() -> None:
    recorder = MemoryRecorder()
    oracle = build(OracleSpec(rate_limit="10/second", near_duplicate=0.01), LinearOracle(), Budget(3), recorder)
    with pytest.raises(BudgetExhausted):
        oracle.query(random_images(4))
    assert recorder.refusals == [(None, 4, "budget")]
    oracle.query(random_images(3))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: NearDuplicateBlock(LinearOracle(), 0.0),
        lambda: NearDuplicateBlock(LinearOracle(), math.nan),
        lambda: NearDuplicateBlock(LinearOracle(), 0.1, share=1.0),
        lambda: NearDuplicateBlock(LinearOracle(), 0.1, window=0),
        lambda: RateLimited(LinearOracle(), RateLimit(0, 1, 1), ServiceClock()),
    ],
)
def test_what_cannot_be_built(wrong: object) -> None:
    assert callable(wrong)
    with pytest.raises(InvalidSpec, match="give"):
        wrong()


@pytest.mark.parametrize("limit", [TEN, RateLimit(10, 1, 3), RateLimit(2, 1, 2, calls=True)])
def test_a_limiter_that_goes_on_after_a_restart_is_never_fuller(limit: RateLimit) -> None:
    clock = ServiceClock()
    steady = Limiter(limit, clock)
    taken: list[tuple[int, int]] = []
    for images in (2, 1, 3, 2, 2):
        clock.advance(0.13)
        if not steady.wait(steady.units(images)):
            taken.append((clock.now() + 20, images))  # the row of a call is later than the call passed
        clock.advance(0.02)
        assert Limiter(limit, clock, taken).left <= steady.left
    clock.advance(10.0)
    assert Limiter(limit, clock, taken).left == steady.left == limit.burst


def test_a_wall_clock_moves_on_its_own_and_sleeps() -> None:
    clock = WallClock()
    before = clock.now()
    clock.advance(0.02)
    assert 20 <= clock.now() - before < 2000
