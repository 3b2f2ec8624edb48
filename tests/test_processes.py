"""No test starts a process without the mark: this file has none, and is refused every way there is."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import socket
import subprocess
from collections.abc import Callable

import pytest

from tests.processes import no_process

STARTS: dict[str, Callable[[], object]] = {
    "subprocess": lambda: subprocess.run(["true"], check=True),
    "spawn": lambda: multiprocessing.get_context("spawn").Process(target=int).start(),
    "forkserver": lambda: multiprocessing.get_context("forkserver").Process(target=int).start(),
    "fork": lambda: os.fork() or os._exit(0),
    "posix_spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
    "system": lambda: os.system("true"),
    "server": lambda: socket.create_server(("127.0.0.1", 0)),
    "connection": lambda: socket.create_connection(("127.0.0.1", 9)),
}


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_a_test_without_the_mark_starts_nothing(start: Callable[[], object]) -> None:
    with pytest.raises(pytest.fail.Exception, match="mark this test `process`"):
        start()


def test_no_code_under_test_takes_it_for_an_error_of_its_own() -> None:
    assert not issubclass(pytest.fail.Exception, Exception)


def test_what_was_there_before_is_back_afterwards() -> None:
    before = subprocess.Popen.__init__
    with no_process():
        assert subprocess.Popen.__init__ is not before
    assert subprocess.Popen.__init__ is before


@pytest.mark.process
def test_a_test_with_the_mark_may() -> None:
    program = shutil.which("true")
    assert program is not None
    assert subprocess.run([program], check=False).returncode == 0
