"""What every test here is under: no process without the mark for it. And fixtures that several packages' tests need."""

from __future__ import annotations

import os
import platform
import signal
from collections.abc import Generator
from pathlib import Path

import pytest

from oracles.model_files import loading
from oracles.model_files.kinds import READERS, Graph, Kind
from oracles.outside import OutsideFile
from tests.processes import no_process

MAY_START_PROCESSES = ("process", "browser")
"""Marks; `tox -e fast` runs no test that carries one."""


def pytest_sessionstart() -> None:
    """Set what every test and the processes that it starts rely on.

    Python 3.11 asks a process for the platform's name, which every scan stores, and remembers the answer. A shell that
    runs the tests in the background (`tox &`) has them ignore interrupts, which processes would inherit.
    """
    platform.platform()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Fails a test that starts a process, whether itself or in a fixture, and carries no mark that says so."""
    if any(item.get_closest_marker(mark) for mark in MAY_START_PROCESSES):
        return (yield)
    with no_process():
        return (yield)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real data sets; skips where it is absent. Tests that ask for it carry the mark `data`."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SIMKIT_DATA") or beside)
    if not folder.is_dir():
        pytest.skip("no real data sets: set SIMKIT_DATA to their folder")
    return folder


@pytest.fixture
def read_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Model files with a program in them are read and run in this process, where a test is not about the other one."""

    def read(file: OutsideFile, kind: Kind) -> Graph:
        return READERS[kind](file.path, file.data)

    monkeypatch.setattr(loading, "open_sandboxed", read)
