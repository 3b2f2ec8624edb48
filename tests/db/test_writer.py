"""When rows are committed, and that none is lost when they cannot be."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from db import writer
from db.check import check
from db.errors import StorageFull
from db.ledger import CallLike, Ledger, RunInfo

MakeCall = Callable[..., CallLike]
MakeRun = Callable[..., RunInfo]


def _committed(path: Path) -> int:
    connection = sqlite3.connect(path)
    (queries,) = connection.execute("SELECT coalesce(sum(queries), 0) FROM calls").fetchone()
    connection.close()
    return int(queries)


def test_rows_wait_for_enough_queries(
    path: Path, make_run: MakeRun, make_call: MakeCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "FLUSH_SECONDS", 1e9)
    monkeypatch.setattr(writer, "FLUSH_QUERIES", 10)
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run())
        seen = []
        for _ in range(5):
            run.record(make_call(queries=4))
            seen.append((run.spent, _committed(path)))
        assert seen == [(4, 0), (8, 0), (12, 12), (16, 12), (20, 12)]
        run.refuse(None, 1, "budget")
        assert _committed(path) == 20
        run.record(make_call(queries=4))
        run.flush()
        assert _committed(path) == 24
        run.record(make_call(queries=4))
    assert _committed(path) == 28


def test_rows_wait_no_longer_than_the_time_allows(
    path: Path, make_run: MakeRun, make_call: MakeCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("db.writer.time.monotonic", lambda: now)
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run())
        now += 0.4
        run.record(make_call(queries=4))
        assert _committed(path) == 0
        now += 0.2
        run.record(make_call(queries=4))
        assert _committed(path) == 8


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
run.record(_call(queries=19_000))
try:
    run.flush()
except StorageFull as error:
    print("full", error.unstored)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
ledger.close()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
def test_a_failing_write_keeps_the_queue_too(path: Path) -> None:
    here = str(Path(__file__).parent)
    done = subprocess.run([sys.executable, "-c", LIMITED, str(path), here], capture_output=True, text=True, check=True)
    assert done.stdout == "full 19000\n"
    assert _committed(path) == 19_005
    assert check(path) == []


KILLED = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from conftest import _call, _run
from db.ledger import Ledger
run = Ledger.open(Path(sys.argv[1])).begin(_run())
for number in range(40):
    run.record(_call(run.open_step(number, "search", "{}"), queries=5, seed=number))
    if number == 24:
        run.flush()
print(run.spent, flush=True)
os.kill(os.getpid(), int(sys.argv[3])) if sys.argv[3] != "0" else os._exit(1)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills are POSIX")
@pytest.mark.parametrize("how", [0, signal.SIGKILL])
def test_a_killed_run_owes_what_is_committed(path: Path, make_run: MakeRun, make_call: MakeCall, how: int) -> None:
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", KILLED, str(path), here, str(int(how))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) != (0, "")
    assert done.stdout == "200\n", done.stderr
    committed = _committed(path)
    assert committed >= 125
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run())
        assert run.spent == committed
        stored = [call.step for call in run.stored_calls()]
        steps = [run.open_step(number, "search", "{}") for number in range(40)]
        assert steps == list(range(1, 41))  # those the crash took get the ids they had
        assert stored == steps[: committed // 5]
        run.record(make_call(steps[-1]))
    assert check(path) == []


def test_a_crash_while_creating_leaves_nothing_in_the_way(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", crash)
        with pytest.raises(KeyboardInterrupt):
            Ledger.open(path)
    assert not path.exists()
    assert path.with_name(f"{path.name}.new").exists()
    Ledger.open(path).close()
    assert check(path) == []
