"""What is stored of calls over a network: with the call or not at all, found again, checked, merged and exported."""

from __future__ import annotations

import sqlite3
import sys
import tracemalloc
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from db.check import check
from db.errors import StorageBusy, StorageError
from db.export import export
from db.ledger import Ledger
from db.merge import merge
from db.records import FloatArray
from db.service_records import Alarm, Attempt, Beside, image_sha256, pack_picture, unpack_picture
from db.writer import Writer
from tests.db.conftest import MakeCall, MakeRun, MakeVerdict

DIGEST = "ab" * 32
IMAGES: FloatArray = np.random.default_rng(3).random((3, 1, 4, 4)).astype(np.float32)
PRINTS: FloatArray = np.arange(12, dtype=np.float32).reshape(3, 4)
WHOLE = Beside("key-1", DIGEST, PRINTS, IMAGES, room=10_000)
SENT = Attempt(0, 3, "key-1", 1, "sent")
ALARM = Alarm("blacklight", 31.0, 0, 3, "log")


def rows(path: Path, statement: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    found = connection.execute(statement).fetchall()
    connection.close()
    return found


@pytest.fixture
def networked(path: Path, make_run: MakeRun, make_call: MakeCall, make_verdict: MakeVerdict) -> Path:
    """A finished run of two calls: one with everything beside it, and one with nothing."""
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run())
        run.attempt(SENT)
        run.record(make_call(queries=3), WHOLE)
        run.attempt(replace(SENT, outcome="answered", status=200, charged=3))
        run.record(make_call(queries=2))
        run.alarm(ALARM)
        run.finish(make_verdict(spent=5), [])
    return path


def test_a_call_is_found_by_its_idempotency_key(path: Path, make_run: MakeRun, make_call: MakeCall) -> None:
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run())
        run.record(make_call(queries=2))
        run.record(make_call(queries=3, seed=5), WHOLE)
        found = run.delivery("key-1")
        assert found is not None
        assert (found.digest, found.number, found.queries, found.call.first) == (DIGEST, 1, 3, 2)
        assert (found.call.codec, found.call.answers) == ("scores/4/0.0", make_call(queries=3, seed=5).answers)
        assert run.delivery("key-2") is None
        assert ledger.begin(make_run("other")).delivery("key-1") is None
    assert check(path) == []


def test_a_key_is_used_once_and_a_second_use_blocks_nothing(path: Path, make_run: MakeRun, make_call: MakeCall) -> None:
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run())
        run.record(make_call(), WHOLE)
        with pytest.raises(StorageError, match="answered idempotency key 'key-1' already"):
            run.record(make_call(), WHOLE)
        assert (run.spent, run.queries) == (3, 3)
        run.record(make_call(queries=2))
    assert check(path) == []


@pytest.mark.parametrize(
    "wrong",
    [
        *[replace(WHOLE, digest="AB" * 32), replace(WHOLE, digest="ab"), replace(WHOLE, idempotency="")],
        *[replace(WHOLE, fingerprints=PRINTS[:2]), replace(WHOLE, images=IMAGES.astype(np.float64))],
    ],
)
def test_what_does_not_fit_the_call_is_refused_before_it_is_charged(
    path: Path, make_run: MakeRun, make_call: MakeCall, wrong: Beside
) -> None:
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run())
        with pytest.raises(StorageError, match="give"):
            run.record(make_call(queries=3), wrong)
        assert (run.spent, run.queries) == (0, 0)


@pytest.mark.parametrize("broken", ["db.service_rows.pack_picture", "db.service_rows.image_sha256", "db.writer.seal"])
@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_call_whose_rows_cannot_all_be_made_leaves_none_behind(
    path: Path, make_run: MakeRun, make_call: MakeCall, broken: str, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """broken: what fails once, after that many uses that succeed."""
    module, name = broken.rsplit(".", 1)
    real, left = getattr(sys.modules[module], name), iter([*[False] * after, True])

    def failing(value: object) -> object:
        if next(left, False):
            raise MemoryError
        return real(value)

    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run())
        monkeypatch.setattr(broken, failing)
        with pytest.raises(MemoryError):
            run.record(make_call(), WHOLE)
        assert (run.spent, run.queries, run.kept, run.delivery("key-1")) == (0, 0, 0, None)
        run.record(make_call(seed=5), replace(WHOLE, idempotency="key-2"))
        run.record(make_call(), WHOLE)
        stored = [found.call.answers for found in (run.delivery("key-2"), run.delivery("key-1")) if found]
        assert stored == [make_call(seed=5).answers, make_call().answers]
    assert check(path) == []


def test_a_ledger_that_cannot_be_read_for_a_moment_queues_nothing(
    path: Path, make_run: MakeRun, make_call: MakeCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Writer.read

    def failing(writer: Writer, sql: str, *values: object) -> object:
        if "pictures" in sql:
            raise StorageBusy("locked")
        return real(writer, sql, *values)

    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run())
        monkeypatch.setattr(Writer, "read", failing)
        with pytest.raises(StorageBusy):
            run.record(make_call(), WHOLE)
        monkeypatch.undo()
        run.flush()
        run.record(make_call(), WHOLE)
        assert (run.spent, run.queries) == (3, 3)
    assert check(path) == []


@pytest.mark.parametrize(("beside", "spent"), [(Beside(fingerprints=PRINTS), 3), (WHOLE, 0)])
def test_while_another_program_holds_the_file_a_call_waits_whole_or_is_not_charged(
    path: Path, make_run: MakeRun, make_call: MakeCall, beside: Beside, spent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.engine.BUSY_MS", 10)
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run())
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageBusy):
            run.record(make_call(), beside)
        other.execute("ROLLBACK")
        other.close()
        assert run.spent == spent
        run.flush()
    assert check(path) == []
    assert (
        rows(path, "SELECT count(*) FROM fingerprints") == rows(path, "SELECT count(*) FROM calls") == [(spent // 3,)]
    )


def test_the_last_fingerprints_come_back_in_order(path: Path, make_run: MakeRun, make_call: MakeCall) -> None:
    wanted = np.random.default_rng(1).random((30, 4)).astype(np.float32)
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run())
        assert run.fingerprints(4, 10).shape == (0, 4)
        for first in range(0, 30, 3):
            run.record(make_call(queries=3), Beside(fingerprints=wanted[first : first + 3]))
        for last in (1, 3, 7, 30, 99):
            assert np.array_equal(run.fingerprints(4, last), wanted[-last:])


def test_recent_rows_are_calls_and_refusals_that_took_part_of_the_rate(
    path: Path, make_run: MakeRun, make_call: MakeCall
) -> None:
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run())
        run.record(make_call(queries=3))
        for reason in ("rate", "near_duplicate", "budget", "banned"):
            run.tally(7, reason)
        times = [at for at, _ in run.recent(0.0)]
        assert [queries for _, queries in run.recent(0.0)] == [3, 7, 7]
        assert times == sorted(times)
        assert len(run.recent(times[0])) == 2
        assert len(run.recent(times[-1])) == 2, "a row of refusals may have counted others for a minute"
        assert run.recent(times[-1] + 60.0) == []


def test_images_are_kept_once_and_up_to_the_cap(path: Path, make_run: MakeRun, make_call: MakeCall) -> None:
    size = len(pack_picture(IMAGES[0])[1])
    twice = IMAGES[[0, 0, 1]]
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run())
        for room in (size, 0):
            run.record(make_call(queries=3), Beside(images=twice, room=room))
            assert run.kept == ledger.kept_bytes() == size
    assert rows(path, "SELECT sha256 FROM pictures") == [(image_sha256(IMAGES[0]),)]
    assert rows(path, "SELECT DISTINCT json_extract(hashes, '$[2]') FROM asked") == [(image_sha256(IMAGES[1]),)]
    assert check(path) == []


@given(arrays(np.float32, (1, 2, 3), elements=st.floats(0, 1, width=32)))
def test_a_kept_image_comes_back_bit_by_bit(image: FloatArray) -> None:
    assert unpack_picture(*pack_picture(image)).tobytes() == image.tobytes()
    eight = np.round(image * 255).astype(np.float32) / np.float32(255)
    codec, data = pack_picture(eight)
    assert codec == "uint8/1/2/3"
    assert unpack_picture(codec, data).tobytes() == eight.tobytes()


@pytest.mark.parametrize(
    ("codec", "data"), [("uint8/1/2/3", b"x"), ("int64/1/1/1", b""), ("uint8/a/1/1", b""), ("uint8/9/9/9", b"x\x9c")]
)
def test_other_bytes_are_no_image(codec: str, data: bytes) -> None:
    with pytest.raises(StorageError, match="cannot be read"):
        unpack_picture(codec, data)


@pytest.mark.parametrize("shape", ["-1/-2/3", "6", "1/0/6", f"1/1/{'9' * 30}", f"{'9' * 5000}/1/1", "1/65536/65536"])
def test_no_more_is_unpacked_than_an_image_may_hold(shape: str) -> None:
    bomb = zlib.compress(bytes(2**26))
    tracemalloc.start()
    try:
        with pytest.raises(StorageError, match="cannot be read"):
            unpack_picture(f"uint8/{shape}", bomb)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_attempts_and_alarms_come_back_and_an_outcome_is_stored_once(path: Path, make_run: MakeRun) -> None:
    lost = replace(SENT, outcome="lost")
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run())
        run.attempt(SENT)
        run.attempt(lost)
        with pytest.raises(StorageError, match="UNIQUE"):
            run.attempt(lost)
        assert run.attempts() == [SENT, lost]
        run.alarm(replace(ALARM, queries=1))
        assert run.alarms() == [replace(ALARM, queries=1)]
    assert check(path) == ["run 1: an alarm about query 0 of 0"]


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("UPDATE deliveries SET digest = replace(digest, 'a', 'c')", "deliveries: row 1 differs from what was written"),
        ("UPDATE deliveries SET call_number = 9", "foreign key: row 1 of deliveries"),
        ("UPDATE asked SET hashes = '[]'", "call 0: 0 images asked, but 3 queries"),
        ("UPDATE fingerprints SET data = zeroblob(4)", "call 0: 4 bytes of fingerprints for 3 queries"),
        ("UPDATE pictures SET data = zeroblob(4) WHERE rowid = 1", "cannot be read"),
        (
            "UPDATE pictures SET data = (SELECT data FROM pictures WHERE rowid = 2) WHERE rowid = 1",
            "the pixels differ from their hash",
        ),
        ("DELETE FROM attempts WHERE outcome = 'sent'", "attempt 1 of key-1 is answered, never sent"),
        ("UPDATE attempts SET attempt = 2", "1 attempts of key-1 numbered up to 2"),
        ("UPDATE attempts SET queries = 2 WHERE outcome = 'sent'", "the attempts of key-1 are about different queries"),
        ("UPDATE alarms SET queries = 6", "an alarm about query 5 of 5"),
        ("UPDATE alarms SET score = 1.0", "alarms: row 1 differs from what was written"),
    ],
)
def test_what_does_not_add_up_is_found(networked: Path, sql: str, words: str) -> None:
    assert check(networked) == []
    connection = sqlite3.connect(networked)
    connection.executescript(sql)
    connection.close()
    assert any(words in mismatch for mismatch in check(networked)), check(networked)


def test_a_damaged_answer_is_not_replayed(networked: Path, make_run: MakeRun) -> None:
    connection = sqlite3.connect(networked)
    connection.executescript("UPDATE calls SET answers = zeroblob(length(answers)) WHERE number = 0")
    connection.close()
    with Ledger.open(networked) as ledger, pytest.raises(StorageError, match="call 0 is damaged"):
        ledger.begin(make_run()).delivery("key-1")


def test_a_merge_takes_everything_along_and_an_image_once(
    networked: Path, tmp_path: Path, make_run: MakeRun, make_call: MakeCall, make_verdict: MakeVerdict
) -> None:
    with Ledger.open(networked) as ledger:
        run = ledger.begin(make_run("two"))
        run.record(make_call(queries=3), replace(WHOLE, room=0))
        run.finish(make_verdict(spent=3), [])
    into = tmp_path / "into.db"
    merge(into, [networked])
    merge(into, [networked])
    assert check(into) == []
    for table in ("deliveries", "fingerprints", "asked", "attempts", "alarms"):
        names = ", ".join(
            str(row[1]) for row in rows(into, f"PRAGMA table_info({table})") if row[1] not in ("id", "seal")
        )
        statement = f"SELECT {names} FROM {table} ORDER BY id"
        assert rows(into, statement) == rows(networked, statement) != []
    statement = "SELECT * FROM pictures ORDER BY sha256"
    assert rows(into, statement) == rows(networked, statement)
    assert len(rows(into, statement)) == 3


def test_an_export_has_a_file_for_each_table(networked: Path, tmp_path: Path, make_run: MakeRun) -> None:
    with Ledger.open(networked) as ledger:
        ledger.begin(make_run("two"))
    export(networked, tmp_path / "all")
    frames = {p.stem: pd.read_parquet(p) for p in (tmp_path / "all").glob("*.parquet")}
    assert frames["deliveries"][["run", "call", "idempotency"]].values.tolist() == [[1, 0, "key-1"]]
    assert frames["fingerprints"]["data"][0].tolist() == PRINTS.ravel().tolist()
    pictures = pq.read_table(tmp_path / "all" / "pictures.parquet").to_pylist()
    assert {p["sha256"]: unpack_picture(p["codec"], p["data"]).tobytes() for p in pictures} == {
        image_sha256(image): image.tobytes() for image in IMAGES
    }
    assert frames["attempts"]["outcome"].tolist() == ["sent", "answered"]
    assert frames["alarms"][["detector", "score", "action"]].values.tolist() == [["blacklight", 31.0, "log"]]
    assert export(networked, tmp_path / "two", run=2).records["pictures"] == 0
    assert export(networked, tmp_path / "one", run=1).records["pictures"] == 3
