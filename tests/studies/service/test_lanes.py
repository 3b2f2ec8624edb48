"""The order of turns, and what is told to a call whose turn does not come."""

from __future__ import annotations

import threading
import time

import pytest

from oracles.wire.contract import Problem
from studies.service.lanes import Lane


def test_turns_come_one_at_a_time_in_the_order_of_arrival() -> None:
    lane, order, inside = Lane(), list[int](), list[int]()

    def work(number: int) -> None:
        with lane.turn():
            inside.append(number)
            assert len(inside) == 1
            order.append(number)
            time.sleep(0.002)
            inside.remove(number)

    threads = []
    with lane.turn():
        for number in range(20):
            threads.append(threading.Thread(target=work, args=(number,)))
            threads[-1].start()
            time.sleep(0.005)
    for thread in threads:
        thread.join(10)
    assert order == list(range(20))


def test_a_turn_that_is_not_ready_lets_others_pass() -> None:
    lane, order, done = Lane(), list[str](), threading.Event()

    def wait() -> None:
        with lane.turn(lambda: "b" in order):
            order.append("a")
        done.set()

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.05)
    with lane.turn():
        order.append("b")
    assert done.wait(10)
    thread.join()
    assert order == ["b", "a"]


def test_a_turn_that_does_not_come_is_told_with_its_reason() -> None:
    lane = Lane(patience=0.05)
    with pytest.raises(Problem, match="queries before this call have not arrived") as caught, lane.turn(lambda: False):
        pass
    assert (caught.value.kind, caught.value.retry_after) == ("in_progress", 1.0)
    with lane.turn(), pytest.raises(Problem, match="still running") as caught, lane.turn():
        pass
    assert (caught.value.kind, caught.value.retry_after) == ("unavailable", 1.0)
    with lane.turn():
        pass


def test_too_many_waiting_calls_are_turned_away_at_once() -> None:
    lane = Lane(patience=0.3, most=3)
    kinds: list[str] = []

    def wait() -> None:
        try:
            with lane.turn(lambda: False):
                pass
        except Problem as problem:
            kinds.append(problem.kind)

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    before = time.monotonic()
    with pytest.raises(Problem, match="3 calls of this key are waiting"), lane.turn():
        pass
    assert time.monotonic() - before < 0.1
    for thread in threads:
        thread.join()
    assert kinds == ["in_progress"] * 3


def test_a_call_that_waits_looks_for_what_others_did_and_holds_up_nobody_meanwhile() -> None:
    lane, looks, passed = Lane(patience=20.0), list[float](), list[bool]()

    def look() -> None:
        other = threading.Thread(target=lambda: passed.append(held()))
        other.start()
        other.join(5)  # a look may take long, and calls that are ready do not wait for it
        looks.append(time.monotonic())

    def held() -> bool:
        with lane.turn():
            return True

    began = time.monotonic()
    with lane.turn(lambda: len(looks) == 2, look):
        assert 0.9 < time.monotonic() - began < 5.0
    assert passed == [True, True]


def test_an_error_inside_gives_the_turn_back() -> None:
    lane = Lane(patience=1.0)
    with pytest.raises(ZeroDivisionError), lane.turn():
        raise ZeroDivisionError
    with lane.turn():
        pass


def test_turns_that_come_as_patience_ends_are_not_lost() -> None:
    lane, ended = Lane(patience=0.002, most=1000), list[str]()

    def work() -> None:
        for _ in range(25):
            try:
                with lane.turn():
                    time.sleep(0.0005)
                ended.append("turn")
            except Problem:
                ended.append("told")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(ended) == 200
    assert {"turn", "told"} == set(ended)
    with lane.turn():  # nobody holds the lane
        pass


def test_the_end_of_a_turn_wakes_the_next_call_alone() -> None:
    lane, looked, inside, leave = Lane(), [0] * 3, threading.Event(), threading.Event()

    def ready(place: int) -> bool:
        looked[place] += 1
        return True

    def work(place: int) -> None:
        with lane.turn(lambda: ready(place)):
            inside.set()
            leave.wait(10)

    threads = [threading.Thread(target=work, args=(place,)) for place in range(3)]
    with lane.turn():
        for thread in threads:
            thread.start()
            time.sleep(0.02)
    assert inside.wait(10)
    assert looked == [1, 0, 0]
    leave.set()
    for thread in threads:
        thread.join(10)
    assert looked == [1, 1, 1]
