"""What holds of every book of a service: a ledger, and PostgreSQL that replicas share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from db.book import Book
from db.errors import StorageError
from db.ledger import Ledger
from db.postgres import PostgresBook
from db.records import FloatArray, RunInfo
from db.service_records import Alarm, Beside
from tests.db.conftest import MakeCall, MakeRun
from tests.postgres import emptied, server

pytestmark = pytest.mark.process
DIGEST = "ab" * 32


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with server() as found:
        yield found


@pytest.fixture(params=["ledger", "postgres"])
def book(request: pytest.FixtureRequest, path: Path) -> Iterator[Book]:
    if request.param == "ledger":
        with Ledger.open(path) as ledger:
            yield ledger
    else:
        with PostgresBook(emptied(request.getfixturevalue("url"))) as shared:
            yield shared


@pytest.fixture
def info(make_run: MakeRun) -> RunInfo:
    return of_key(make_run(), "lab00000")


def of_key(run: RunInfo, key: str) -> RunInfo:
    return replace(run, config=json.dumps({"service": {"key": key, "model": run.model}}))


class TestBook:
    def test_a_run_begins_at_zero_and_is_one_object(self, book: Book, info: RunInfo) -> None:
        run = book.begin(info)
        run.look()
        assert book.begin(info) is run
        assert (run.queries, run.kept, run.alarms(), run.recent(0.0)) == (0, 0, [], [])
        assert (book.kept_bytes(), book.caller("lab00000").spent, book.caller("nobody").spent) == (0, 0, 0)
        run.check_step(None)
        with pytest.raises(StorageError):
            run.check_step(3)

    def test_a_call_is_found_by_its_idempotency_key(self, book: Book, info: RunInfo, make_call: MakeCall) -> None:
        run = book.begin(info)
        for number, queries in enumerate((3, 2)):
            run.record(make_call(queries=queries, seed=number), Beside(f"k{number}", DIGEST))
        stored, wanted = run.delivery("k1"), make_call(queries=2, seed=1)
        assert stored is not None
        assert (stored.digest, stored.number, stored.queries, stored.call.first) == (DIGEST, 1, 2, 3)
        assert (stored.call.codec, stored.call.answers) == (wanted.codec, wanted.answers)
        assert np.array_equal(stored.call.rows, wanted.rows)
        assert (run.delivery("other"), run.queries, book.caller("lab00000").spent) == (None, 5, 5)

    def test_an_idempotency_key_pays_once(self, book: Book, info: RunInfo, make_call: MakeCall) -> None:
        run = book.begin(info)
        run.record(make_call(queries=2), Beside("k", DIGEST))
        with pytest.raises(StorageError):
            run.record(make_call(queries=2), Beside("k", DIGEST))
        assert (run.queries, book.caller("lab00000").spent) == (2, 2)
        run.record(make_call(queries=1), Beside("other", DIGEST))
        assert book.caller("lab00000").spent == 3

    def test_all_runs_of_a_key_are_its_spending(self, book: Book, make_run: MakeRun, make_call: MakeCall) -> None:
        for name, key in (("a", "lab00000"), ("b", "lab00000"), ("c", "lab00001")):
            book.begin(of_key(make_run(name), key)).record(make_call(queries=4))
        assert [book.caller(key).spent for key in ("lab00000", "lab00001")] == [8, 4]
        assert len(book.caller("lab00000").runs) == 2
        assert [queries for _, queries in book.recent("lab00000", 0.0)] == [4, 4]

    def test_refusals_of_a_minute_are_one_row(self, book: Book, info: RunInfo) -> None:
        run = book.begin(info)
        for reason in ("budget", "budget", "rate", "budget"):
            run.tally(7, reason)
        assert [queries for _, queries in run.recent(0.0)] == [21]
        assert run.recent(0.0) == book.recent("lab00000", 0.0)
        assert run.recent(run.recent(0.0)[0][0] + 61.0) == []

    def test_fingerprints_come_back_in_order(self, book: Book, info: RunInfo, make_call: MakeCall) -> None:
        prints: FloatArray = np.arange(24, dtype=np.float32).reshape(6, 4)
        run = book.begin(info)
        run.record(make_call(queries=2))
        run.record(make_call(queries=2), Beside(fingerprints=prints[:2]))
        run.record(make_call(queries=4), Beside(fingerprints=prints[2:]))
        for last in (1, 3, 5, 6, 99):
            assert np.array_equal(run.fingerprints(4, last), prints[-last:])

    def test_images_are_kept_once_and_within_the_room(self, book: Book, info: RunInfo, make_call: MakeCall) -> None:
        images: FloatArray = np.random.default_rng(0).random((3, 1, 4, 4)).astype(np.float32)
        run = book.begin(info)
        run.record(make_call(queries=3), Beside(images=images[[0, 0, 1]], room=10_000))
        kept = run.kept
        assert kept == book.kept_bytes() > 0
        run.record(make_call(queries=3), Beside(images=images[[0, 1, 2]], room=0))
        assert run.kept == book.kept_bytes() == kept

    def test_alarms_are_stored_with_their_call_or_not_at_all(
        self, book: Book, info: RunInfo, make_call: MakeCall
    ) -> None:
        run, ban = book.begin(info), Alarm("piha", 0.9, 0, 2, "ban")
        for wrong in ({"detector": ""}, {"action": ""}, {"first": -1}, {"queries": 0}, {"score": float("nan")}):
            with pytest.raises(StorageError):
                run.record(make_call(queries=2), Beside("k", DIGEST, alarms=(replace(ban, **wrong),)))
        assert (run.queries, run.alarms(), book.caller("lab00000").banned) == (0, [], None)
        run.record(make_call(queries=2), Beside("k", DIGEST, alarms=(ban, replace(ban, first=1, queries=1))))
        assert run.alarms() == [ban, replace(ban, first=1, queries=1)]
        assert book.caller("lab00000").banned is not None

    def test_a_ban_is_known_of_the_key(self, book: Book, info: RunInfo) -> None:
        run = book.begin(info)
        for alarm in (Alarm("prada", 0.5, 0, 2, "log"), Alarm("piha", 0.9, 2, 2, "ban")):
            run.alarm(alarm)
        assert [alarm.action for alarm in run.alarms()] == ["log", "ban"]
        assert book.caller("lab00000").banned is not None
        assert book.caller("lab00001").banned is None
