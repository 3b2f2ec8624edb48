"""Tests that are not marked `process` start no process and open no server; `tox -e fast` runs these alone."""

from __future__ import annotations

import multiprocessing
import multiprocessing.process
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

STARTS = (
    (subprocess.Popen, "__init__"),
    (multiprocessing.process.BaseProcess, "start"),
    (os, "fork"),
    (os, "posix_spawn"),
    (os, "system"),
    (socket.socket, "bind"),
    (socket.socket, "connect"),
)
"""What every start of a process or a server in Python comes through, as the owner and the name of a function."""


@contextmanager
def no_process() -> Iterator[None]:
    """While the body runs, each of `STARTS` fails the test that calls it, and says which mark the test lacks.

    pytest's own failure is no Exception, so that no code under test can take it for an error of the process.
    """
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in STARTS:
            patch.setattr(owner, name, _refusal(f"{owner.__name__}.{name}"))
        yield


def forked(called: Callable[..., None], *args: object) -> multiprocessing.process.BaseProcess:
    """A process of its own that calls a function, forked from one that has imported what takes seconds to import."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.studies.scan.remote_child", "tests.studies.service.running"])
    process = context.Process(target=_uninterrupted, args=(called, *args))
    process.start()
    return process


def _uninterrupted(called: Callable[..., None], *args: object) -> None:
    """Call it as a process of its own would: its server may have been started while Ctrl-C was blocked."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    called(*args)


def _refusal(name: str) -> Callable[..., Any]:
    def refuse(*_args: object, **_options: object) -> None:
        pytest.fail(f"{name} starts a process or a connection: mark this test `process`")

    return refuse
