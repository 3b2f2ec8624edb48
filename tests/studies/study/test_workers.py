"""Processes that scan: what one does makes no difference to another, and none outlives the command."""

from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from db.check import check
from db.errors import StorageBusy
from db.ledger import Ledger
from studies.study.claim import claimed
from studies.study.executors import Workers
from studies.study.result_file import read_lines
from studies.study.result_line import ResultLine
from studies.study.unit import Study, scan_unit
from studies.study.workers import work_through
from tests.studies.study.detectors import HERE
from tests.studies.study.studies import study_of, units

ALONE, TWO = Workers(1), Workers(2)

DEADLINE = 100.0
"""Seconds after which something that should happen has not."""


def told(line: ResultLine) -> ResultLine:
    """Without what may differ between two processes."""
    return line.model_copy(update={"seconds": 0.0})


@pytest.mark.process
def test_workers_find_what_one_process_finds(demo_victims: Path, tmp_path: Path) -> None:
    alone, together = (study_of(demo_victims / "zoo", tmp_path / name) for name in ("alone", "together"))
    names = ("random-patch", f"{HERE}:ASKS")
    list(work_through(units(alone, *names), ALONE))
    outcomes = list(work_through(units(together, *names), TWO))
    assert [outcome.state for outcome in outcomes] == ["scanned"] * 4
    lines = {line.unit: told(line) for line in read_lines(together.out)}
    assert lines == {line.unit: told(line) for line in read_lines(alone.out)}
    assert multiprocessing.active_children() == []


@pytest.mark.process
def test_one_that_fails_and_one_that_dies_are_told_and_stop_no_other(
    demo_victims: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("fail").touch()
    study = study_of(demo_victims / "zoo", tmp_path)
    outcomes = list(work_through(units(study, f"{HERE}:FAILS", f"{HERE}:ASKS"), TWO))
    assert sorted((o.unit.detector, o.state) for o in outcomes) == [
        *[(f"{HERE}:ASKS", "scanned")] * 2,
        *[(f"{HERE}:FAILS", "failed")] * 2,
    ]
    assert len(read_lines(study.out)) == 2
    (dead,) = work_through(units(study, f"{HERE}:DIES")[:1], TWO)
    assert (dead.state, "processes died at it" in dead.messages[0]) == ("failed", True)
    assert units(study, f"{HERE}:DIES")


@pytest.mark.process
def test_leaving_early_ends_the_workers_and_spoils_nothing(demo_victims: Path, tmp_path: Path) -> None:
    study = study_of(demo_victims / "zoo", tmp_path)
    slow = units(study, f"{HERE}:SLOW")
    outcomes = work_through((*units(study, f"{HERE}:ASKS")[:1], *slow), TWO)
    assert next(outcomes).state == "scanned"
    began = time.monotonic()
    outcomes.close()
    assert time.monotonic() - began < DEADLINE
    assert multiprocessing.active_children() == []
    assert len(read_lines(study.out)) == 1
    assert {tuple(check(path)) for path in study.ledgers.glob("*.db")} == {()}
    assert units(study, f"{HERE}:SLOW") == slow


def test_one_victim_is_scanned_by_one_process(demo_victims: Path, tmp_path: Path) -> None:
    study = study_of(demo_victims / "zoo", tmp_path)
    unit = units(study, f"{HERE}:ASKS")[0]
    with claimed(study.ledgers, unit.stem, goes_on=False):
        (outcome,) = work_through((unit,), ALONE)
        assert (outcome.state, outcome.messages) == ("busy", ())
    assert scan_unit(unit).state == "scanned"


@contextmanager
def command(study: Study) -> Iterator[subprocess.Popen[bytes]]:
    """`simkit study scan` with two processes and a detector that takes its time, when both are at it."""
    given = [f"--set={name}={value}" for name, value in study.settings.items() if name.endswith("_images")]
    places = ["--out", str(study.out), "--ledgers", str(study.ledgers), "--detector", f"{HERE}:SLOW"]
    called = [
        sys.executable,
        "-m",
        "studies.cli.main",
        "study",
        "scan",
        str(study.zoo),
        *places,
        *given,
        "--workers",
        "2",
    ]
    with subprocess.Popen(called, stderr=subprocess.PIPE) as process:
        try:
            until(lambda: len(list(study.ledgers.glob("*.db"))) == 2)
            yield process
        finally:
            process.kill()


def until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_free(path: Path) -> bool:
    try:
        Ledger.open(path).close()
    except StorageBusy:
        return False
    return True


@pytest.mark.process
@pytest.mark.parametrize(("sign", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_no_worker_outlives_the_command(sign: signal.Signals, code: int, demo_victims: Path, tmp_path: Path) -> None:
    study = study_of(demo_victims / "zoo", tmp_path)
    with command(study) as process:
        process.send_signal(sign)
        _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == code
    assert (b"the same command resumes" in err) == (sign == signal.SIGINT)
    assert b"Traceback" not in err
    ledgers = sorted(study.ledgers.glob("*.db"))
    until(lambda: all(map(is_free, ledgers)))
    assert [check(path) for path in ledgers] == [[], []]
    assert read_lines(study.out) == []
