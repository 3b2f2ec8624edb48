"""Several processes at one book: a budget holds, ordinals and idempotency keys are answered once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from db import reads
from db.book import BookRun
from db.check import check
from db.errors import StorageError
from db.ledger import Ledger
from db.postgres import PostgresBook, is_postgres
from db.pull import pull
from db.records import FloatArray, RunInfo
from db.service_records import Alarm, Beside
from studies.cli.main import main
from tests.db.conftest import MakeCall, MakeRun
from tests.db.test_book import DIGEST, of_key
from tests.postgres import emptied, server

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def server_url() -> Iterator[str]:
    with server() as found:
        yield found


@pytest.fixture
def url(server_url: str) -> str:
    return emptied(server_url)


@pytest.fixture
def info(make_run: MakeRun) -> RunInfo:
    return of_key(make_run(), "lab00000")


@pytest.fixture
def both(url: str) -> Iterator[tuple[PostgresBook, PostgresBook]]:
    """Two replicas' books."""
    with PostgresBook(url) as one, PostgresBook(url) as other:
        yield one, other


Both = tuple[PostgresBook, PostgresBook]


def test_two_replicas_never_spend_more_than_the_cap(both: Both, make_run: MakeRun, make_call: MakeCall) -> None:
    """Each replica has its own run of the key, as for two models, so that the budget alone stops them."""
    runs = [book.begin(of_key(make_run(str(n)), "lab00000")) for n, book in enumerate(both)]

    said = set[str]()

    def spend(run: BookRun) -> int:
        for _ in range(60):
            try:
                run.record(make_call(queries=3), Beside(cap=100))
            except StorageError as error:
                said.add(str(error).partition(": ")[2])
        return run.queries

    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(spend, runs))
    assert sum(told) == both[0].caller("lab00000").spent == 99
    assert said == {"another replica has spent the budget of lab00000; ask again"}


def test_a_charge_may_use_the_whole_cap_and_a_lowered_cap_lets_nothing_through(
    both: Both, info: RunInfo, make_call: MakeCall
) -> None:
    run = both[0].begin(info)
    run.record(make_call(queries=3), Beside(cap=3))
    for cap in (3, 0):
        with pytest.raises(StorageError, match="has spent the budget"):
            run.record(make_call(queries=1), Beside(cap=cap))
    run.record(make_call(queries=1), Beside(cap=None))
    assert (run.queries, both[1].caller("lab00000").spent) == (4, 4)


def test_an_ordinal_is_answered_by_one_replica_until_the_other_has_looked(
    both: Both, info: RunInfo, make_call: MakeCall
) -> None:
    one, other = (book.begin(info) for book in both)
    one.record(make_call(queries=2))
    with pytest.raises(StorageError, match="another replica has answered calls of lab00000; ask again"):
        other.record(make_call(queries=1))
    assert (other.queries, both[0].caller("lab00000").spent) == (0, 2), "the charge is undone with it"
    other.look()
    other.record(make_call(queries=1))
    assert (other.queries, both[0].caller("lab00000").spent) == (3, 3)


def test_an_idempotency_key_is_found_by_the_other_replica(both: Both, info: RunInfo, make_call: MakeCall) -> None:
    one, other = (book.begin(info) for book in both)
    one.record(make_call(queries=2), Beside("k", DIGEST))
    found = other.delivery("k")
    assert found is not None
    assert found.call.answers == make_call(queries=2).answers


def test_eight_threads_on_two_replicas_answer_each_ordinal_once(both: Both, info: RunInfo, make_call: MakeCall) -> None:
    runs, said = [book.begin(info) for book in both], set[str]()

    def work(number: int) -> int:
        done, run = 0, runs[number % 2]
        while done < 10:
            run.look()
            try:
                run.record(make_call(queries=1 + number % 3))
                done += 1
            except StorageError as error:
                said.add(str(error).partition(": ")[2])
        return done * (1 + number % 3)

    with ThreadPoolExecutor(8) as pool:
        told = sum(pool.map(work, range(8)))
    assert said <= {"another replica has answered calls of lab00000; ask again"}
    runs[0].look()
    assert told == runs[0].queries == both[0].caller("lab00000").spent


def test_replicas_that_start_together_make_the_tables_once(url: str) -> None:
    def start(_: int) -> int:
        with PostgresBook(url) as book:
            return book.kept_bytes()

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(start, range(6))) == [0] * 6


def test_a_book_becomes_a_ledger_that_every_command_reads(
    both: Both, url: str, info: RunInfo, make_run: MakeRun, make_call: MakeCall, path: Path
) -> None:
    images: FloatArray = np.random.default_rng(0).random((3, 1, 4, 4)).astype(np.float32)
    prints: FloatArray = np.arange(12, dtype=np.float32).reshape(3, 4)
    run, second = both[0].begin(info), both[1].begin(of_key(make_run("second"), "lab00001"))
    run.record(make_call(queries=3), Beside("k", DIGEST, prints, images, room=10_000))
    run.record(make_call(queries=2, seed=1))
    second.record(make_call(queries=4, seed=2))
    for _ in range(3):
        run.tally(2, "rate")
    run.alarm(Alarm("prada", 0.5, 0, 2, "ban"))
    assert main(["db", "pull", url, str(path)]) == 0
    assert check(path) == []
    assert reads.sql(path, "SELECT sum(charged) AS n FROM spend")["n"].tolist() == [9]
    assert reads.sql(path, "SELECT queries, reason FROM refusals").values.tolist() == [[6, "rate"]]
    with Ledger.open(path) as ledger:
        again = ledger.begin(info)
        found = again.delivery("k")
        assert found is not None
        assert (found.digest, found.call.answers) == (DIGEST, make_call(queries=3).answers)
        assert np.array_equal(again.fingerprints(4, 9), prints)
        assert (again.queries, again.refused, again.alarms()) == (5, 6, run.alarms())
        assert ledger.kept_bytes() == both[0].kept_bytes() > 0
        for key in ("lab00000", "lab00001"):
            assert ledger.caller(key) == both[0].caller(key)
    assert main(["db", "pull", url, str(path)]) == 5, "a ledger is not overwritten"


@pytest.mark.parametrize(
    "place", ["postgresql://", "postgresql://nobody@127.0.0.1:1/nothing", "postgresql://u:p@h:x/d"]
)
def test_a_database_that_cannot_be_reached_is_told_in_one_line_without_the_password(place: str) -> None:
    with pytest.raises(StorageError) as caught:
        PostgresBook(place.replace("//nobody@", "//nobody:secret@"))
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nothing_is_pulled_from_a_database_without_a_service(url: str, path: Path) -> None:
    with pytest.raises(StorageError, match="no service has recorded there"):
        pull(url, path)
    assert not path.exists()


def test_tables_of_another_simkit_are_left_alone(both: Both, url: str) -> None:
    with both[0].transaction() as connection:
        connection.exec_driver_sql("UPDATE simkit.meta SET version = 99")
    with pytest.raises(StorageError, match="tables of version 99, by another simkit"):
        PostgresBook(url)


def test_which_places_are_databases() -> None:
    assert [is_postgres(place) for place in ("postgresql://h/d", "postgres://h/d", "provider.db", "postgres.db")] == [
        *(True, True),
        *(False, False),
    ]
