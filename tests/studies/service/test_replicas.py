"""Two `simkit serve` on one PostgreSQL, one of them killed: nothing is overspent, and nothing charged twice."""

from __future__ import annotations

import http.client
import json
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from db import reads
from db.check import check
from db.postgres import PostgresBook
from db.pull import pull
from oracles.answers import encode
from oracles.budget import Budget
from oracles.meter import MemoryRecorder
from oracles.spec import OracleSpec, build
from oracles.wire import registry
from studies.service.gate import Gate
from studies.service.keys import NewKey, new_key
from studies.service.session import ServedModel
from tests.oracles.fakes import LinearOracle
from tests.postgres import emptied, server
from tests.studies.service.conftest import asked, key_of, sent
from tests.studies.service.running import running
from tests.studies.service.served import ABOUT, images

pytestmark = pytest.mark.process

NOISY = OracleSpec(score_noise=0.05, seed=4)
BUDGET, EACH = 40, 3
"""A key pays 13 calls of 3 images, and one query is left over."""


@pytest.fixture(scope="module")
def server_url() -> Iterator[str]:
    with server() as found:
        yield found


@dataclass
class Caller:
    """A key's client: it sends each call again, with its idempotency key, until it is answered or refused for good.

    homes: the addresses that it tries, in turn. told: the replies by idempotency key.
    """

    key: NewKey
    homes: list[str]
    told: dict[str, set[bytes]] = field(default_factory=dict)
    charged: int = 0
    lost: int = 0
    ended: int = 0

    def run(self, calls: int, pause: float = 0.0) -> None:
        for number in range(calls):
            self.call(number)
            time.sleep(pause)

    def call(self, number: int) -> None:
        until, at = time.monotonic() + 60.0, 0
        while time.monotonic() < until:
            try:
                status, charged, body = self.sent(self.homes[at % len(self.homes)], number)
            except (OSError, http.client.HTTPException):
                at, self.lost = at + 1, self.lost + 1
                continue
            if status == 200:
                self.told.setdefault(f"call-{number}", set()).add(body)
                self.charged += charged
                return
            if status == 403:
                self.ended += 1
                return
            assert status == 503, (status, body)
            time.sleep(0.02)
        raise AssertionError(f"call {number} had no reply")

    def sent(self, home: str, number: int) -> tuple[int, int, bytes]:
        request = registry.wire("oip").ask(images(EACH, number), ABOUT, self.key.text)
        connection = http.client.HTTPConnection(home.removeprefix("http://"), timeout=40)
        try:
            headers = {**request.headers, "Idempotency-Key": f"call-{number}"}
            connection.request(request.method, request.target, request.body, headers)
            reply = connection.getresponse()
            return reply.status, int(reply.headers.get("Simkit-Charged", 0)), reply.read()
        finally:
            connection.close()


def callers_of(folder: Path, homes: list[list[str]]) -> list[Caller]:
    made = [new_key(folder / "keys.toml", {"name": "a lab", "budget": BUDGET}) for _ in homes]
    return [Caller(key, home) for key, home in zip(made, homes, strict=True)]


def booked(url: str, path: Path) -> dict[str, list[tuple[str, int, bytes]]]:
    """Idempotency key, charge and answer of the calls of each API key, in order, from a ledger that is sound."""
    pull(url, path)
    assert check(path) == []
    statement = (
        "SELECT json_extract(r.config, '$.service.key') AS key, d.idempotency, c.charged, c.answers FROM calls AS c"
        " JOIN runs AS r ON r.id = c.run_id JOIN deliveries AS d ON d.run_id = c.run_id AND d.call_number = c.number"
        " ORDER BY c.run_id, c.number"
    )
    found: dict[str, list[tuple[str, int, bytes]]] = {}
    for key, *call in reads.sql(path, statement).values.tolist():
        found.setdefault(key, []).append((call[0], call[1], call[2]))
    return found


def sequential(calls: int) -> list[bytes]:
    """The answers to the calls of one key in process."""
    oracle = build(NOISY, LinearOracle(), Budget(None), MemoryRecorder())
    return [encode(oracle.query(torch.from_numpy(images(EACH, number))))[1] for number in range(calls)]


@pytest.fixture
def options(server_url: str, tmp_path: Path) -> list[str]:
    (tmp_path / "noise.json").write_text(NOISY.to_json())
    return ["--db", emptied(server_url), "--oracle", "noise.json"]


def test_a_killed_replica_costs_no_key_anything(tmp_path: Path, server_url: str, options: list[str]) -> None:
    with running(tmp_path, *options) as one, running(tmp_path, *options) as other:
        callers = callers_of(tmp_path, [[one.url, other.url], [other.url, one.url]] * 3)
        with ThreadPoolExecutor(len(callers)) as pool:
            running_calls = [pool.submit(caller.run, 15, 0.05) for caller in callers]
            while sum(len(caller.told) for caller in callers) < 24:
                time.sleep(0.01)
            one.process.send_signal(signal.SIGKILL)
            for calls in running_calls:
                calls.result(120)
        other.stop()
    found, wanted = booked(server_url, tmp_path / "pulled.db"), sequential(13)
    assert sum(caller.lost for caller in callers) > 0
    for caller in callers:
        rows = found[caller.key.key.id]
        assert [(name, charged) for name, charged, _ in rows] == [(f"call-{n}", EACH) for n in range(13)]
        assert [answers for *_, answers in rows] == wanted, "noise goes on where the killed replica ended"
        assert (len(caller.told), caller.ended) == (13, 2)
        assert all(len(replies) == 1 for replies in caller.told.values())


def test_a_balancer_that_sends_each_call_to_both_replicas_makes_nobody_pay_twice(
    tmp_path: Path, server_url: str, options: list[str]
) -> None:
    with running(tmp_path, *options) as one, running(tmp_path, *options) as other:
        (first, second) = callers_of(tmp_path, [[one.url], [other.url]])
        second.key = first.key
        start = threading.Barrier(2)

        def ask(caller: Caller) -> None:
            for number in range(15):
                start.wait(60)
                caller.call(number)

        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(ask, caller) for caller in (first, second)]:
                done.result(120)
    rows = booked(server_url, tmp_path / "pulled.db")[first.key.key.id]
    assert [(name, charged) for name, charged, _ in rows] == [(f"call-{n}", EACH) for n in range(13)]
    assert first.charged + second.charged == 13 * EACH
    assert first.told == second.told


def test_what_one_replica_was_told_the_other_knows(tmp_path: Path, server_url: str, options: list[str]) -> None:
    """A caller who changes replicas finds its places, its budget, and a revoked key."""
    with running(tmp_path, *options) as one, running(tmp_path, *options) as other:
        (caller,) = callers_of(tmp_path, [[one.url, other.url]])
        for number in range(12):
            status, charged, _ = caller.sent(caller.homes[number % 2], number)
            assert (status, charged) == (200, EACH)
        assert caller.sent(one.url, 12)[0] == 200
        status, _, body = caller.sent(other.url, 13)
        assert (status, json.loads(body)["remaining"]) == (403, 1)
    found = booked(server_url, tmp_path / "pulled.db")[caller.key.key.id]
    assert [answers for *_, answers in found] == sequential(13)


@pytest.fixture
def two(server_url: str) -> Iterator[tuple[Gate, Gate]]:
    """The gates of two replicas, in this process."""
    place = emptied(server_url)
    with PostgresBook(place) as one, PostgresBook(place) as other:
        served = {"m": ServedModel("m", LinearOracle(), "a" * 64, NOISY)}
        yield Gate(served, one), Gate(served, other)


def test_a_call_that_waits_goes_on_when_another_replica_has_answered_those_before_it(two: tuple[Gate, Gate]) -> None:
    """The second of them is the very call that another replica answers meanwhile: it gets that answer."""
    key, (first, second, third) = key_of(budget=BUDGET), (asked(2, number) for number in range(3))
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(two[1].call, key, "m", third, sent(third, "c", first=4))
        same = pool.submit(two[1].call, key, "m", second, sent(second, "b", first=2))
        time.sleep(0.3)
        two[0].call(key, "m", first, sent(first, "a", first=0))
        answered = two[0].call(key, "m", second, sent(second, "b", first=2))
        began = time.monotonic()
        late = waiting.result(20)
        assert time.monotonic() - began < 2.5
        again = same.result(20)
    assert (late.first, late.charged, late.remaining) == (4, 2, BUDGET - 6)
    assert again.data == answered.data
    assert answered.charged + again.charged == 2
