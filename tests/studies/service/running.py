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
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from studies.service.keys import NewKey, new_key

ROOT = Path(__file__).resolve().parents[3]
T = TypeVar("T")
MODEL = "python:tests.studies.service.served:ORACLE"


def awaited(coroutine: Coroutine[Any, Any, T]) -> T:
    """Its result, from a thread of its own: after a test in a browser this one has a loop that runs."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


@dataclass
class Running:
    """`simkit serve`. url: its address. process: itself."""

    folder: Path
    url: str
    process: subprocess.Popen[str]

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
        return self.process.returncode, told


@contextmanager
def running(folder: Path, *options: str) -> Iterator[Running]:
    """`simkit serve` on a free port with the known model `m`, ended at the end; stderr is in the file `errors`."""
    if not (folder / "keys.toml").exists():
        new_key(folder / "keys.toml", {"name": "nobody", "budget": 0})
    command = [sys.executable, "-m", "studies.cli.entry", "serve", MODEL, "--name", "m", "--port", "0"]
    command += ["--classes", "zero,one,two,three,four", "--keys", "keys.toml", "--db", "provider.db", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with (folder / "errors").open("w") as errors:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"https?://\S+?(?=;)", line)
            assert found, line + (folder / "errors").read_text()
            yield Running(folder, found[0], process)
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()


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
