"""Reading: frames of known ledgers, plain SQL, and a writer that does not notice."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from db import engine, reads
from db.check import check
from db.engine import reading
from db.errors import StorageBusy, StorageError
from db.ledger import Ledger
from db.records import CallLike, RunInfo, VerdictRow

MakeCall = Callable[..., CallLike]
MakeRun = Callable[..., RunInfo]
MakeVerdict = Callable[..., VerdictRow]


@pytest.fixture
def ledger_path(path: Path, make_run: MakeRun, make_call: MakeCall, make_verdict: MakeVerdict) -> Path:
    """Run 1: one check call, two search calls, an external one, finished. Run 2: two external queries, open."""
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run("one", budget=50))
        run.record(make_call(run.open_step(0, "check", "{}"), queries=2))
        step = run.open_step(1, "search", "{}")
        run.record(make_call(step, queries=3))
        run.record(make_call(step, queries=4))
        run.record(make_call(None, queries=1))
        run.refuse(step, 9, "budget")
        run.finish(make_verdict(spent=10, refused=9), [])
        ledger.begin(make_run("two")).record(make_call(None, queries=2))
    return path


def test_frames_of_a_known_ledger(ledger_path: Path) -> None:
    runs = reads.runs(ledger_path)
    assert runs[["run", "state", "spent", "seed"]].values.tolist() == [[1, "done", 10, 7], [2, "open", 2, 7]]
    assert runs["budget"].isna().tolist() == [False, True]
    spend = reads.spend(ledger_path).values.tolist()
    assert spend == [[1, "check", 1, 2, 2], [1, "external", 1, 1, 1], [1, "search", 2, 7, 7], [2, "external", 1, 2, 2]]
    steps = reads.steps(ledger_path, 1)[["step", "purpose", "calls", "queries"]].values.tolist()
    assert steps == [[0, "check", 1, 2], [1, "search", 2, 7]]
    verdicts = reads.verdicts(ledger_path)
    assert verdicts[["run", "verdict", "spent", "refused", "budget"]].values.tolist() == [[1, "clean", 10, 9, 50]]
    assert reads.result(ledger_path, 2) is None
    assert reads.triggers(ledger_path, 1) == []


def test_runs_are_listed_without_a_frame(ledger_path: Path) -> None:
    first, second = reads.listed(ledger_path)
    assert [first[name] for name in ("run", "state", "verdict", "spent", "budget")] == [1, "done", "clean", 10, 50]
    assert [second[name] for name in ("run", "state", "verdict", "spent", "budget")] == [2, "open", None, 2, None]
    old = reads.listed(Path(__file__).parent / "schemas" / "v1.db")
    assert [(row["run"], row["spent"]) for row in old] == [
        tuple(row) for row in reads.runs(Path(__file__).parent / "schemas" / "v1.db")[["run", "spent"]].values.tolist()
    ]


def test_queries_for_images_are_told_by_their_steps(path: Path, make_run: MakeRun, make_call: MakeCall) -> None:
    with Ledger.open(path) as ledger:
        for count, name in ((5, "made"), (0, "given")):
            run = ledger.begin(make_run(name))
            run.record(make_call(run.open_step(0, "check", "{}"), queries=2))
            run.record(make_call(run.open_step(1, "search", '{"synthesis":"no check"}'), queries=3))
            if count:
                run.record(make_call(run.open_step(2, "check", '{"synthesis":"draw"}'), queries=4))
                run.record(make_call(run.open_step(3, "check", '{"synthesis":"label"}'), queries=1))
            assert reads.image_queries(path, run.id) == count


def test_one_row_a_query_in_order(ledger_path: Path, make_call: MakeCall) -> None:
    frame = reads.queries(ledger_path, run=1)
    assert frame["query"].tolist() == list(range(10))
    assert frame["call"].tolist() == [0, 0, 1, 1, 1, 2, 2, 2, 2, 3]
    assert frame["purpose"].tolist() == ["check"] * 2 + ["search"] * 7 + ["external"]
    assert frame["step"].fillna(-1).tolist() == [0, 0, 1, 1, 1, 1, 1, 1, 1, -1]
    assert frame["charged"].tolist() == [1] * 10
    call = make_call(None, queries=4)
    assert b"".join(frame["answer"][5:9]) == call.answers
    assert frame["score"][5:9].to_numpy(np.float32).tolist() == np.asarray(call.scores).tolist()
    assert len(reads.queries(ledger_path)) == 12
    assert reads.queries(ledger_path, limit=4)["query"].tolist() == [0, 1, 2, 3]
    assert reads.queries(ledger_path, run=2)["query"].tolist() == [0, 1]
    assert len(reads.queries(ledger_path, run=3)) == 0


def test_readers_see_what_is_committed_while_the_writer_goes_on(
    path: Path, make_run: MakeRun, make_call: MakeCall
) -> None:
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run())
        for n in range(1, 4):
            run.record(make_call(queries=5))
            run.flush()
            assert len(reads.queries(path)) == 5 * n
            assert check(path) == []


def test_reading_changes_no_byte_of_the_file(ledger_path: Path) -> None:
    before = ledger_path.read_bytes()
    reads.queries(ledger_path)
    assert check(ledger_path) == []
    assert ledger_path.read_bytes() == before


@pytest.mark.parametrize("read", [reads.runs, reads.queries, reads.spend, reads.verdicts])
def test_reading_nothing_is_an_error_not_an_empty_frame(tmp_path: Path, read: Callable[[Path], object]) -> None:
    with pytest.raises(StorageError, match="no ledger there"):
        read(tmp_path / "missing.db")


READERS: list[Callable[[Path], object]] = [
    *(reads.runs, reads.queries, reads.spend, reads.verdicts),
    *(lambda path: reads.steps(path, 1), lambda path: reads.triggers(path, 1), lambda path: reads.result(path, 1)),
]


@pytest.mark.parametrize("read", READERS)
def test_a_damaged_file_is_one_clear_line(ledger_path: Path, read: Callable[[Path], object]) -> None:
    content = bytearray(ledger_path.read_bytes())
    content[8192:] = bytes(byte ^ 0x5A for byte in content[8192:])
    ledger_path.write_bytes(content)
    with pytest.raises(StorageError, match="the file is damaged") as error:
        read(ledger_path)
    assert str(ledger_path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("read", READERS)
def test_a_locked_file_is_busy(
    ledger_path: Path, read: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_MS", 10)
    other = sqlite3.connect(ledger_path, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StorageBusy, match="another program has locked the file; close it there and try again"):
        read(ledger_path)
    other.close()


@pytest.mark.parametrize("seed", range(20))
def test_no_damage_ends_in_a_traceback(ledger_path: Path, seed: int) -> None:
    draw = np.random.default_rng(seed)
    content = bytearray(ledger_path.read_bytes())
    for at in draw.integers(8192, len(content), 200):
        content[at] ^= int(draw.integers(1, 256))
    ledger_path.write_bytes(content)
    message: list[str] = []
    for read in READERS:
        try:
            read(ledger_path)
        except StorageError as error:  # anything else fails the test
            message.append(str(error))
    assert all(str(ledger_path) in line and "\n" not in line for line in message)


def test_a_ledger_at_rest_is_read_where_nothing_may_be_written(
    ledger_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def files_while_reading() -> list[str]:
        with reading(ledger_path) as connection:
            connection.exec_driver_sql("SELECT count(*) FROM calls")
            return [p.name for p in ledger_path.parent.iterdir() if not p.name.endswith(".lock")]

    assert len(files_while_reading()) == 3  # a log and shared memory are made, which takes a folder to write in
    ledger_path.with_name(f"{ledger_path.name}-shm").unlink()
    ledger_path.with_name(f"{ledger_path.name}-wal").unlink()
    monkeypatch.setattr("db.engine.os.access", lambda folder, mode: False)
    assert files_while_reading() == [ledger_path.name]


def test_a_ledger_at_work_is_read_by_its_log_where_nothing_may_be_written(
    ledger_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.engine.os.access", lambda folder, mode: False)
    with closing(sqlite3.connect(ledger_path, isolation_level=None, timeout=0)) as writer:
        assert writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
        with reading(ledger_path) as connection:
            connection.exec_driver_sql("SELECT count(*) FROM calls").one()
            writer.execute("UPDATE meta SET value = '' WHERE key = 'created'")
            (held_up, _, _) = writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            assert held_up  # the pages being read are not written over


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_can_be_read(ledger_path: Path) -> None:
    folder = ledger_path.parent
    folder.chmod(0o555)
    try:
        assert len(reads.runs(ledger_path)) == 2
        assert check(ledger_path) == []
    finally:
        folder.chmod(0o755)


@pytest.mark.process
@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="needs the sqlite3 command")
def test_plain_sql_reads_the_view(ledger_path: Path) -> None:
    sql = "SELECT purpose, count(*), sum(charged), max(length(answer)) FROM queries WHERE run = 1 GROUP BY purpose"
    done = subprocess.run(["sqlite3", str(ledger_path), sql], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["check|2|2|16", "external|1|1|16", "search|7|7|16"]


def test_the_same_scan_is_found_under_another_key(path: Path, make_run: MakeRun) -> None:
    first, other = make_run(), replace(make_run("other"), model_hash="e" * 64)
    elsewhere = replace(first, key="d" * 64)
    with Ledger.open(path) as ledger:
        ids = [ledger.begin(info).id for info in (first, other)]
    assert [run.id for run in reads.same_scans(path, elsewhere)] == ids[:1]
    assert [run.key for run in reads.same_scans(path, first)] == [first.key]
    assert reads.same_scans(path, first)[0].environment == json.loads(first.environment)
    for change in ({"config": '{"x": 1}'}, {"budget": 9}, {"data_hash": "e" * 64}):
        assert reads.same_scans(path, replace(elsewhere, **change)) == []
