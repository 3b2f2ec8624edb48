"""When rows are committed, when the disk is waited for, and that none is lost when either cannot be."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from db import reads
from db.check import check
from db.errors import StorageError, StorageFull
from db.ledger import Ledger
from db.records import CallLike, RunInfo, VerdictRow

MakeCall = Callable[..., CallLike]
MakeRun = Callable[..., RunInfo]
MakeVerdict = Callable[..., VerdictRow]


def _committed(path: Path) -> int:
    connection = sqlite3.connect(path)
    (queries,) = connection.execute("SELECT coalesce(sum(queries), 0) FROM calls").fetchone()
    connection.close()
    return int(queries)


def test_every_call_is_committed_when_it_is_recorded(path: Path, make_run: MakeRun, make_call: MakeCall) -> None:
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run())
        for number in range(5):
            run.record(make_call(run.open_step(number, "search", "{}"), queries=4))
            assert run.spent == _committed(path) == 4 * (number + 1)
        run.open_step(5, "search", "{}")
    assert _committed(path) == 20
    assert len(reads.steps(path, run.id)) == 6


def test_the_disk_is_waited_for_by_the_clock_and_where_it_counts(
    path: Path, make_run: MakeRun, make_call: MakeCall, make_verdict: MakeVerdict, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, synced = 100.0, []
    monkeypatch.setattr("db.writer.time.monotonic", lambda: now)
    monkeypatch.setattr("db.writer.os.fsync", lambda handle: synced.append(os.fstat(handle).st_ino))
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run())

        def after(act: Callable[[], object]) -> int:
            synced.clear()
            act()
            return len(synced)

        def record() -> None:
            run.record(make_call(queries=4))

        assert after(record) == 0
        now += 0.4
        assert after(record) == 0
        now += 0.2
        assert after(record) == 1
        assert synced == [path.with_name(f"{path.name}-wal").stat().st_ino]
        assert after(run.flush) == 0  # nothing came since
        assert after(record) == 0
        assert after(run.flush) == 1
        assert after(lambda: run.refuse(None, 1, "budget")) == 1
        assert after(lambda: run.finish(make_verdict(spent=16, refused=1), [])) == 1
        ledger.begin(make_run("two")).record(make_call())
        assert after(ledger.close) == 1


def test_a_disk_that_fails_to_sync_is_told_and_tried_again(
    path: Path, make_run: MakeRun, make_call: MakeCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(handle: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run())
        run.record(make_call(queries=4))
        with monkeypatch.context() as patch:
            patch.setattr("db.writer.os.fsync", fail)
            for _ in range(2):
                with pytest.raises(StorageFull, match="Input/output error"):
                    run.flush()
        run.flush()
    assert _committed(path) == 4


def test_a_full_disk_keeps_the_queue_until_there_is_room(path: Path, make_run: MakeRun, make_call: MakeCall) -> None:
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run())
        run.record(make_call(queries=10))
        run.flush()
        driver = ledger._writer._open_connection()
        pages = driver.exec_driver_sql("PRAGMA page_count").scalar()
        driver.rollback()
        driver.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        driver.rollback()
        with pytest.raises(StorageFull, match="3000 queries are not stored yet"):
            run.record(make_call(queries=3000))
        for _ in range(2):
            with pytest.raises(StorageFull, match="3000 queries are not stored yet") as error:
                run.flush()
            assert error.value.unstored == 3000
        assert run.spent == 3010
        driver.exec_driver_sql("PRAGMA max_page_count = 1000000")
        driver.rollback()
        run.flush()
    assert _committed(path) == 3010
    assert check(path) == []


LIMITED = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from conftest import _call, _run
from db.errors import StorageFull
from db.ledger import Ledger
path = Path(sys.argv[1])
ledger = Ledger.open(path)
run = ledger.begin(_run())
run.record(_call(queries=5))
run.flush()
size = path.with_name(path.name + "-wal").stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 8192, resource.RLIM_INFINITY))
try:
    run.record(_call(queries=19_000))
except StorageFull as error:
    print("full", error.unstored)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
ledger.close()
"""


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
def test_a_failing_write_keeps_the_queue_too(path: Path) -> None:
    here = str(Path(__file__).parent)
    done = subprocess.run([sys.executable, "-c", LIMITED, str(path), here], capture_output=True, text=True, check=True)
    assert done.stdout == "full 19000\n"
    assert _committed(path) == 19_005
    assert check(path) == []


KILLED = """
import os, sys
from itertools import count
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from conftest import _call, _run
from db.ledger import Ledger
run = Ledger.open(Path(sys.argv[1])).begin(_run())
first = sum(1 for _ in run.stored_calls())
calls = [_call(queries=5, seed=n) for n in range(9)]
os.write(1, b"r")
for number in count():
    step = run.open_step(number, "search", "{}")
    if number >= first:
        run.record(type(calls[0])(**{**vars(calls[number % 9]), "step": step}))
        os.write(1, b".")
"""


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="kills are POSIX")
def test_a_kill_loses_no_call_that_was_recorded(path: Path, make_run: MakeRun, make_call: MakeCall) -> None:
    here, observed = str(Path(__file__).parent), 0
    draw = np.random.default_rng(5)
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", KILLED, str(path), here], stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            assert child.stdout.read(1) == b"r"
            asked = len(child.stdout.read(int(draw.integers(1, 60))))
            time.sleep(float(draw.uniform(0.0, 0.003)))
            child.kill()
            asked += len(child.stdout.read())
        observed += asked
        assert child.returncode == -signal.SIGKILL
        with Ledger.open(path) as ledger:
            run = ledger.begin(make_run())
            stored = [call.step for call in run.stored_calls()]
            assert [run.open_step(number, "search", "{}") for number in range(len(stored))] == stored
            assert run.spent == 5 * len(stored)
        assert 0 <= len(stored) - observed <= 1, "only a call in flight may be stored and not told"
        observed = len(stored)
        assert check(path) == []


def test_a_crash_while_creating_leaves_nothing_in_the_way(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", crash)
        with pytest.raises(KeyboardInterrupt):
            Ledger.open(path)
    assert not path.exists()
    building = path.with_name(f".{path.name}.simkit-building")
    assert building.exists()
    Ledger.open(path).close()
    assert not building.exists()
    assert check(path) == []


def test_files_beside_a_new_ledger_are_not_ours_to_remove(path: Path) -> None:
    for beside in (path.with_name(f"{path.name}.new"), path.with_name(f".{path.name}.simkit-building")):
        beside.write_text("precious")
    with pytest.raises(StorageError, match="not made by simkit"):
        Ledger.open(path)
    assert not path.exists()
    beside.rename(path.with_name("elsewhere"))
    Ledger.open(path).close()
    assert path.with_name(f"{path.name}.new").read_text() == "precious"
    assert path.with_name("elsewhere").read_text() == "precious"
