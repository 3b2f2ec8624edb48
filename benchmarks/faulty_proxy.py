"""A proxy in front of a service, through which a share of all calls fails; `benchmarks/service_kills.py` uses it."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SHARE, SLOW = 0.3, 0.05
"""The share of calls that fails, and the seconds of a slow one."""

FAULTS = ("drop_before", "drop_after", "500", "503", "slow")

_WAIT = 120.0
"""Seconds for a reply of the service."""


@dataclass
class Faults:
    """What the proxy does to calls, and what came of it. port: of the service."""

    port: int
    draw: random.Random
    made: Counter[str] = field(default_factory=Counter)
    answered: int = 0
    open: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)

    def fault(self) -> str:
        """A fault for the next call, empty for none."""
        with self.changed:
            found = self.draw.choice(FAULTS) if self.draw.random() < SHARE else ""
            self.made[found] += 1
            self.open += 1
            return found

    def ended(self, answered: bool) -> None:
        """Count a call that is no longer under way."""
        with self.changed:
            self.open -= 1
            self.answered += answered
            self.changed.notify_all()

    def wait(self, calls: int, asking: Callable[[], bool]) -> bool:
        """Whether so many further calls were answered while `asking` held."""
        with self.changed:
            wanted = self.answered + calls
            while self.answered < wanted and asking():
                self.changed.wait(0.1)
            return self.answered >= wanted


@contextmanager
def proxy(faults: Faults) -> Iterator[str]:
    """The address of a proxy in front of the service."""
    server = _Proxy(faults)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class _Proxy(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, faults: Faults) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.faults = faults

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Silent: callers are killed on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Proxy

    def do_GET(self) -> None:
        self._passed("")

    def do_POST(self) -> None:
        answered, fault = False, self.server.faults.fault()
        try:
            answered = self._passed(fault)
        finally:
            self.server.faults.ended(answered)

    def _passed(self, fault: str) -> bool:
        """Whether the caller got an answer."""
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        self.close_connection = True
        if fault == "drop_before":
            return False
        if fault in ("500", "503"):
            return self._told(int(fault), [("content-type", "text/plain")], b"a fault on the way")
        try:
            status, headers, reply = self._asked(body)
        except (OSError, http.client.HTTPException):  # the service was killed
            return False
        if fault == "drop_after":
            return False
        time.sleep(SLOW if fault == "slow" else 0.0)
        return self._told(status, headers, reply)

    def _asked(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.faults.port, timeout=_WAIT)
        try:
            upstream.request(self.command, self.path, body, dict(self.headers))
            reply = upstream.getresponse()
            return reply.status, reply.getheaders(), reply.read()
        finally:
            upstream.close()

    def _told(self, status: int, headers: list[tuple[str, str]], body: bytes) -> bool:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(body)
        return status == 200

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""
