"""Reading: frames of known ledgers, plain SQL, and a writer that does not notice."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from db import reads
from db.check import check
from db.errors import StorageError
from db.ledger import CallLike, Ledger, RunInfo, VerdictRow

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


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="needs the sqlite3 command")
def test_plain_sql_reads_the_view(ledger_path: Path) -> None:
    sql = "SELECT purpose, count(*), sum(charged), max(length(answer)) FROM queries WHERE run = 1 GROUP BY purpose"
    done = subprocess.run(["sqlite3", str(ledger_path), sql], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["check|2|2|16", "external|1|1|16", "search|7|7|16"]
