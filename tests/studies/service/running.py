"""A service in a process of its own, and a way to it that loses replies."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar

from studies.cli.entry import main
from studies.service.keys import NewKey, new_key
from tests.processes import forked

ROOT = Path(__file__).resolve().parents[3]
T = TypeVar("T")
MODEL = "python:tests.studies.service.served:ORACLE"


def awaited(coroutine: Coroutine[Any, Any, T]) -> T:
    """Its result, from a thread of its own: after a test in a browser this one has a loop that runs."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


class Forked:
    """A forked process with what is used here of a Popen; its output is a file."""

    def __init__(self, process: BaseProcess, output: Path) -> None:
        self._process, self._output = process, output

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, how: int) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, how)

    def kill(self) -> None:
        self._process.kill()

    def line(self) -> str:
        """The first line of the output, or what there is of it once the process has ended."""
        while (said := self._output.read_text()).count("\n") < 1 and self._process.is_alive():
            time.sleep(0.01)
        return said

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        self._process.join(timeout)
        return self._output.read_text(), None


@dataclass
class Running:
    """`simkit serve`. url: its address. process: itself."""

    folder: Path
    url: str
    process: subprocess.Popen[str] | Forked

    def key(self, **fields: Any) -> NewKey:
        """A new key, known to the service at once."""
        return new_key(self.folder / "keys.toml", {"name": "a lab"} | fields)

    def spent(self, key: NewKey) -> int:
        """Queries charged to a key, by the ledger."""
        sql = """SELECT coalesce(sum(charged), 0) FROM calls JOIN runs ON runs.id = run_id
                 WHERE json_extract(config, '$.service.key') = ?"""
        with closing(sqlite3.connect(f"file:{self.folder / 'provider.db'}?mode=ro", uri=True)) as base:
            return int(base.execute(sql, (key.key.id,)).fetchone()[0])

    def stop(self, how: signal.Signals = signal.SIGINT) -> tuple[int, str]:
        """Exit code and output after a signal."""
        self.process.send_signal(how)
        told, _ = self.process.communicate(timeout=60)
        code = self.process.returncode
        assert code is not None
        return code, told


@contextmanager
def running(folder: Path, *options: str, fresh: bool = False) -> Iterator[Running]:
    """`simkit serve` on a free port with the known model `m`, ended at the end; stderr is in the file `errors`.

    fresh: as the command itself, with an interpreter and the environment of now, and not forked.
    """
    if not (folder / "keys.toml").exists():
        new_key(folder / "keys.toml", {"name": "nobody", "budget": 0})
    command = ["serve", MODEL, "--name", "m", "--port", "0"]
    command += ["--classes", "zero,one,two,three,four", "--keys", "keys.toml", "--db", "provider.db", *options]
    process, line = (_started if fresh else _forked)(folder, command)
    try:
        found = re.search(r"https?://\S+?(?=;)", line())
        assert found, (folder / "errors").read_text()
        yield Running(folder, found[0], process)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _started(folder: Path, command: list[str]) -> tuple[subprocess.Popen[str], Callable[[], str]]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    called = [sys.executable, "-m", "studies.cli.entry", *command]
    with (folder / "errors").open("w") as errors:
        process = subprocess.Popen(
            called, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    assert process.stdout is not None
    return process, process.stdout.readline


def _forked(folder: Path, command: list[str]) -> tuple[Forked, Callable[[], str]]:
    output = Path(tempfile.mkstemp(prefix="output", dir=folder)[1])
    process = Forked(forked(_serve, folder, output, command), output)
    return process, process.line


def _serve(folder: Path, output: Path, command: list[str]) -> None:
    os.chdir(folder)
    for path, stream in ((output, sys.stdout), (folder / "errors", sys.stderr)):
        with path.open("a") as file:
            os.dup2(file.fileno(), stream.fileno())
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    sys.argv = ["simkit", *command]
    sys.exit(main())


@dataclass
class Way:
    """A way to a service that loses the replies to the next `lost` requests, after the service has sent them."""

    url: str = ""
    lost: int = 0
    connections: list[socket.socket] = field(default_factory=list)

    def pumped(self, source: socket.socket, sink: socket.socket, replies: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if replies and self.lost:
                    self.lost -= 1
                    break
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def way_to(url: str) -> Iterator[Way]:
    """A listening way to the service at `url`."""
    host, _, port = url.removeprefix("http://").partition(":")
    way = Way()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        way.url = f"http://127.0.0.1:{listener.getsockname()[1]}"

        def accepted() -> None:
            with suppress(OSError):
                while True:
                    client = listener.accept()[0]
                    server = socket.create_connection((host, int(port)))
                    way.connections += [client, server]
                    for ends in ((client, server, False), (server, client, True)):
                        threading.Thread(target=way.pumped, args=ends, daemon=True).start()

        thread = threading.Thread(target=accepted, daemon=True)
        thread.start()
        try:
            yield way
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in way.connections:
                connection.close()
