"""The parent's side of a child process that runs one model: starting it, asking it, and its end."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import weakref
from collections.abc import Mapping
from typing import Any

import torch

from oracles.errors import ModelError, one_line
from oracles.sandbox.confine import RESTRICTIONS
from oracles.sandbox.wire import Ended, receive, send

_MOST_OF_AN_ANSWER = 2**28
_SECONDS_TO_END = 5
"""What a process that has closed the connection may take to be gone, on a busy machine."""

CODE = "import gc, json, sys; paths, args = json.loads(sys.argv[1]); sys.path[:] = paths; "
CODE += "gc.disable(); from oracles.sandbox.child import main; gc.freeze(); gc.enable(); main(*args)"
"""What the process runs. The garbage collector would search what is imported again and again, a sixth of the start."""

_SETTINGS = {"MALLOC_TRIM_THRESHOLD_": str(2**30), "MALLOC_MMAP_THRESHOLD_": str(2**25)}
"""Have the C library keep the memory of a pass for the next one: giving it back costs a third of the speed."""

_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1"}
"""No thread is started by an import, so that `confine` leaves none out."""


class Child:
    """A process that holds one model and does nothing but answer images; it ends with this object or this process.

    name: of the model, for messages. kind: of its file. memory: bytes of data that it may hold. As many threads may ask
    at once as torch has threads now; more of them wait for each other. missing: of RESTRICTIONS, those that it has to
    do without. Raises ModelError if it does not start.
    """

    def __init__(self, name: str, kind: str, memory: int) -> None:
        self._name = name
        try:
            self._process, ours = _started(kind, memory, torch.get_num_threads())
        except OSError as error:
            raise ModelError(f"{name}: no process can be started to run the model in: {one_line(error)}") from error
        self._free: queue.LifoQueue[socket.socket] = queue.LifoQueue()
        for line in reversed(ours[1:]):
            self._free.put(line)
        self.missing: tuple[str, ...] = ()
        self._end = ""
        self.stop = weakref.finalize(self, _end, self._process, ours, os.getpid())
        weakref.finalize(self, _close, ours)
        self.missing = self._begun()  # asked before it has read anything that could make it lie

    def ask(self, header: Mapping[str, Any], payload: bytes | memoryview = b"") -> tuple[dict[str, Any], bytearray]:
        """One request and its answer. Raises ModelError if the process is gone, or breaks the format.

        An exception while waiting, such as Ctrl-C, ends the process.
        """
        line = self._free.get()
        try:
            send(line.fileno(), header, payload)
            return receive(line.fileno(), _MOST_OF_AN_ANSWER)
        except Ended as error:
            raise self._ended(error) from None
        except BaseException:
            self.stop()
            raise
        finally:
            self._free.put(line)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def _begun(self) -> tuple[str, ...]:
        told, _ = self.ask({"do": "begin"})
        missing = told.get("missing")
        if not isinstance(missing, list) or not set(missing) <= set(RESTRICTIONS):
            raise ModelError(f"{self._name}: the process for the model did not begin as it should")
        return tuple(missing)

    def _ended(self, error: Ended) -> ModelError:
        """How it ended, in one line; a process that lives and has broken the format is ended."""
        if not self._end:
            self._end = self._how(error)
            self.stop()
        return ModelError(f"{self._name}: {self._end}")

    def _how(self, error: Ended) -> str:
        if not self.stop.alive:
            return "the process that ran the model was stopped; open the model again"
        try:
            code = self._process.wait(timeout=_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            return f"the process of the model does not answer as it should: {error}"
        return f"the model ended its process ({_words(code)}); nothing was charged for it"


def _started(kind: str, memory: int, threads: int) -> tuple[subprocess.Popen[bytes], list[socket.socket]]:
    """The process, and our ends of its sockets: the one that it ends with, and one for each thread."""
    with contextlib.ExitStack() as theirs, contextlib.ExitStack() as failed:
        ours, fds = [], []
        for _ in range(threads + 1):
            here, there = socket.socketpair()
            ours.append(failed.enter_context(here))
            fds.append(theirs.enter_context(there).fileno())
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", CODE, json.dumps([sys.path, [fds[1:], fds[0], kind, memory]])],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=fds,
            env=_SETTINGS | os.environ | _ONE_THREAD,
            start_new_session=True,  # Ctrl-C in a terminal is this process's affair
        )
        failed.pop_all()
        return process, ours


def _words(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"{name}, as when memory runs out" if name == "SIGKILL" else name


def _end(process: subprocess.Popen[bytes], lines: list[socket.socket], owner: int) -> None:
    if os.getpid() != owner:  # in a fork, whose parent still uses it
        return
    process.kill()
    process.wait()
    for line in lines:
        with contextlib.suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)


def _close(lines: list[socket.socket]) -> None:
    """Once no thread can use them any more."""
    for line in lines:
        line.close()


def memory_cap() -> int:
    """Three quarters of the machine's memory, in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 3 // 4
