"""The rates that a service states: read from headers of several drafts, and kept before a call is refused."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracles.remote.pace import Pace, Stated, read
from oracles.wire.contract import HttpReply

OURS = {"simkit-charged": "2"}
INF = float("inf")

HEADERS = [
    ({}, []),
    ({"ratelimit": '"m";r=3;t=7', "ratelimit-policy": '"m";q=10;w=20;qu="images"'} | OURS, [(10, 3, True, 2.0, 0)]),
    (
        {"ratelimit": '"m";r=3;t=1', "ratelimit-policy": '"m";q=5;w=1;limit=100;seconds=1'} | OURS,
        [(5, 3, False, 0.01, 0)],
    ),
    ({"ratelimit": '"m";r=3;t=7', "ratelimit-policy": '"m";q=10;w=20'}, [(10, 3, False, None, 7)]),
    ({"ratelimit": "m;r=3", "ratelimit-policy": "m;q=10;w=20"}, [(10, 3, False, 2.0, 0)]),
    ({"ratelimit": '"a, b";r=1;t=0 ,"c";pk=:aGk=:;r=2;t=9'}, [(INF, 1, False, None, 0)]),
    ({"ratelimit": '"a, b";r=1;t=0 ,"c";r=2;t=9'}, [(INF, 1, False, None, 0), (INF, 2, False, None, 9)]),
    ({"ratelimit": "limit=10, remaining=3, reset=5"}, [(10, 3, False, None, 5)]),
    ({"ratelimit-limit": "10, 10;w=60", "ratelimit-remaining": "3", "ratelimit-reset": "5"}, [(10, 3, False, None, 5)]),
    ({"ratelimit": '"m";r=-3;t=7', "ratelimit-policy": '"m";q=1;w=1'}, []),
    ({"ratelimit": '"m";r=3'}, []),
]


@pytest.mark.parametrize(("headers", "wanted"), HEADERS)
def test_headers_of_every_draft_are_read(headers: dict[str, str], wanted: list[tuple[float, ...]]) -> None:
    assert list(read(headers).values()) == [Stated(*limit) for limit in wanted]  # type: ignore[arg-type]


@given(st.text(max_size=60), st.text(max_size=60), st.text(alphabet='"\\;,=rtqw0123456789e. ', max_size=80))
def test_no_header_is_an_error_or_a_strange_number(now: str, policy: str, likely: str) -> None:
    for headers in ({"ratelimit": now, "ratelimit-policy": policy}, {"ratelimit": likely, "ratelimit-reset": now}):
        for limit in read(headers).values():
            assert 0.0 <= limit.wait(1) < INF


@dataclass
class Clock(threading.Event):
    """Time that passes only where somebody waits."""

    now: float = 0.0
    waits: list[float] = field(default_factory=list)

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        self.now += timeout or 0.0
        return False


def stated(left: int, reset: int, policy: str, **more: str) -> HttpReply:
    return HttpReply(200, {"ratelimit": f'"m";r={left};t={reset}', "ratelimit-policy": f'"m";{policy}', **more})


def paced(clock: Clock, reply: HttpReply, calls: int = 1, images: int = 4) -> float:
    """The time at which the last of so many further calls may be sent."""
    pace = Pace(None, lambda: clock.now)
    assert pace.kept(images, clock, 60.0)
    pace.heard(images, reply)
    for _ in range(calls):
        assert pace.kept(images, clock, 60.0)
    return clock.now


def test_units_come_back_one_by_one_where_the_service_is_ours() -> None:
    reply = stated(2, 1, 'q=10;w=1;qu="images"', **OURS)
    assert paced(Clock(), reply, 1) == pytest.approx(0.2)
    assert paced(Clock(), reply, 6) == pytest.approx(2.2, abs=0.01)


def test_all_come_back_at_the_end_of_a_window_elsewhere() -> None:
    assert paced(Clock(), stated(2, 5, "q=3;w=5"), 2) == 0.0
    assert paced(Clock(), stated(2, 5, "q=3;w=5"), 5) == pytest.approx(5.0)


def test_a_call_that_is_larger_than_the_quota_or_may_wait_too_long_is_sent_for_the_service_to_say_so() -> None:
    assert paced(Clock(), stated(0, 1, 'q=2;w=2;qu="images"', **OURS)) == pytest.approx(2.0)
    assert paced(Clock(), stated(0, 86400, "q=2;w=86400")) == 0.0


def test_calls_on_their_way_are_counted_when_a_reply_tells_what_is_left() -> None:
    clock = Clock()
    pace, reply = Pace(None, lambda: clock.now), stated(8, 1, 'q=10;w=10;qu="images"', **OURS)
    for _ in range(3):
        assert pace.kept(4, clock, 60.0)
    pace.heard(4, reply)  # which the service sent before it knew of the other two
    assert pace.kept(4, clock, 60.0)
    assert clock.now == pytest.approx(4.0)


def test_replies_that_overtake_each_other_raise_nothing() -> None:
    clock = Clock()
    pace = Pace(None, lambda: clock.now)
    for _ in range(2):
        assert pace.kept(4, clock, 60.0)
    for left in (2, 6):  # the later reply of the service comes first
        pace.heard(4, stated(left, 1, 'q=10;w=10;qu="images"', **OURS))
    assert pace.kept(4, clock, 60.0)
    assert clock.now == pytest.approx(6.0)


def test_calls_without_an_answer_take_nothing_of_a_rate() -> None:
    clock = Clock()
    pace, reply = Pace(None, lambda: clock.now), stated(10, 0, 'q=10;w=10;qu="images"', **OURS)
    assert pace.kept(4, clock, 60.0)
    pace.heard(4, reply)
    for lost in [None, HttpReply(429), HttpReply(503), HttpReply(200, {"idempotency-replayed": "true"})] * 5:
        assert pace.kept(4, clock, 60.0)
        pace.heard(4, lost)
    assert clock.now == 0.0


def test_a_stop_ends_the_wait() -> None:
    pace, stop = Pace(None), threading.Event()
    pace.kept(4, stop, 60.0)
    pace.heard(4, stated(0, 50, 'q=10;w=50;qu="images"', **OURS))
    stop.set()
    assert not pace.kept(4, stop, 60.0)
