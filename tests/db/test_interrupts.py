"""An interrupt at any point of recording: it is what is raised, and no row is lost or stored twice."""

from __future__ import annotations

import gc
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from db.check import check
from db.errors import StorageFull
from db.held import _Connection
from db.ledger import Ledger
from db.records import CallLike, RunInfo, VerdictRow
from db.run import Run

MakeCall = Callable[..., CallLike]
MakeRun = Callable[..., RunInfo]
MakeVerdict = Callable[..., VerdictRow]


def _committed(path: Path) -> list[int]:
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT queries FROM calls ORDER BY id").fetchall()
    connection.close()
    return [queries for (queries,) in rows]


def _interrupted_commit(patch: pytest.MonkeyPatch, *, after: bool) -> None:
    """The next commit is interrupted, before or after it reached the file."""

    def commit(self: _Connection) -> None:
        patch.undo()
        if after:
            self.commit()
        raise KeyboardInterrupt

    patch.setattr(_Connection, "commit", commit, raising=False)


@pytest.mark.parametrize("after", [False, True])
def test_a_call_whose_commit_is_interrupted_is_stored_once_on_closing(
    path: Path, make_run: MakeRun, make_call: MakeCall, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    ledger = Ledger.open(path)
    run = ledger.begin(make_run())
    run.record(make_call(run.open_step(0, "search", "{}"), queries=4))
    step = run.open_step(1, "search", "{}")
    _interrupted_commit(monkeypatch, after=after)
    with pytest.raises(KeyboardInterrupt), ledger:
        run.record(make_call(step, queries=5))
    assert _committed(path) == [4, 5]
    assert check(path) == []


@pytest.mark.parametrize("after", [False, True])
def test_the_open_ledger_goes_on_after_an_interrupted_commit(
    path: Path, make_run: MakeRun, make_call: MakeCall, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run())
        _interrupted_commit(monkeypatch, after=after)
        with pytest.raises(KeyboardInterrupt):
            run.refuse(None, 3, "budget")
        again = ledger.begin(make_run())
        assert (again.refused, again.spent) == (3, 0)
        again.record(make_call(again.open_step(0, "search", "{}"), queries=5))
    assert _committed(path) == [5]
    assert check(path) == []


@pytest.mark.parametrize("after", [False, True])
def test_an_interrupt_while_closing_stores_all(
    path: Path, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    ledger = Ledger.open(path)
    run = ledger.begin(make_run())
    run.open_step(0, "search", "{}")
    _interrupted_commit(monkeypatch, after=after)
    with pytest.raises(KeyboardInterrupt):
        ledger.close()
    with Ledger.open(path) as ledger:
        assert ledger.begin(make_run()).open_step(0, "search", "{}") == 1


def test_a_full_disk_does_not_replace_an_interrupt(
    path: Path, make_run: MakeRun, make_call: MakeCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Any) -> None:
        raise StorageFull("full; 5 queries are not stored yet", 5)

    ledger = Ledger.open(path)
    ledger.begin(make_run()).record(make_call(queries=5))
    monkeypatch.setattr("db.writer.Writer.flush", full)
    with pytest.warns(UserWarning, match="5 queries are not stored yet"), pytest.raises(KeyboardInterrupt), ledger:
        raise KeyboardInterrupt
    with pytest.raises(StorageFull), Ledger.open(path):
        pass


def _record(run: Run, call: Any) -> None:
    run.record(replace(call, step=run.open_step(0, "search", "{}")))


class _At:
    """Raises KeyboardInterrupt at one of the lines that are run in the ledger and in SQLAlchemy, once."""

    def __init__(self, line: int) -> None:
        self.left, self.was = line, False

    def __call__(self, frame: FrameType, event: str, _: object) -> Any:
        name = frame.f_code.co_filename
        if self.was or not ("/db/" in name or "/sqlalchemy/" in name):
            return None
        if event == "line":
            self.left -= 1
            if self.left < 0:
                self.was = True
                sys.settrace(None)
                raise KeyboardInterrupt
        return self


def _interrupted(line: int, act: Callable[[], object]) -> bool:
    """Whether there was such a line; the interrupt is what is raised."""
    trace, former = _At(line), sys.gettrace()
    gc.disable()  # Python itself ignores an interrupt while it collects
    sys.settrace(trace)
    try:
        act()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(former)
        gc.enable()
    assert not trace.was, "the interrupt was swallowed"
    return False


@pytest.mark.filterwarnings("ignore:transaction already deassociated")
def test_an_interrupt_at_any_line_of_recording(
    path: Path, make_run: MakeRun, make_call: MakeCall, make_verdict: MakeVerdict
) -> None:
    line, ended = 0, False
    with Ledger.open(path) as ledger:
        while not ended:
            name = f"at line {line}"
            run = ledger.begin(make_run(name))
            ended = not _interrupted(line, partial(_record, run, make_call()))
            again = ledger.begin(make_run(name))
            assert again.spent in ((0, 3) if not ended else (3,))
            again.open_step(0, "search", "{}")
            again.record(make_call(again.open_step(1, "search", "{}"), queries=2))
            again.finish(make_verdict(spent=again.spent), [])
            line += 5
    assert line > 500
    assert check(path) == []
