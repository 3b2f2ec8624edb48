"""Runs the application under uvicorn: listening, deadlines of connections, and an end that waits for running calls."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from simkit.errors import ConfigError
from studies.service.logs import configuration

HEAD_SECONDS = 10.0
"""For the head of a request, from the start of the connection or the first byte; uvicorn has no such limit."""

BODY_SECONDS = 35.0
"""For a body from the end of the head. The application is stricter, and says so; this ends the connection."""

MOST_HEAD_BYTES = 1 << 16

ENDING_SECONDS = 30
"""That running calls get to end when the server is stopped."""


@dataclass(frozen=True)
class Listening:
    """Where a server listens. port: 0 for a free one. certificate, key: files for TLS."""

    host: str
    port: int
    certificate: str | None = None
    key: str | None = None
    calls: int = 256
    access_log: bool = False


def run(app: ASGIApp, listening: Listening, ready: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM. ready: called with the URL once connections are accepted. Raises ConfigError."""
    config = configured(app, listening)
    with bound(listening) as place, contextlib.suppress(KeyboardInterrupt), _terminable():
        ready(url_of(place, listening))
        uvicorn.Server(config).run(sockets=[place])


def configured(app: ASGIApp, listening: Listening) -> uvicorn.Config:
    """What uvicorn is told. Raises ConfigError where a certificate cannot be used."""
    config = uvicorn.Config(
        app,
        http=_Timed,
        ws="none",
        lifespan="off",
        limit_concurrency=listening.calls,
        ssl_certfile=listening.certificate,
        ssl_keyfile=listening.key,
        access_log=listening.access_log,
        log_config=configuration("WARNING", listening.access_log),
        server_header=False,
        timeout_graceful_shutdown=ENDING_SECONDS,
    )
    try:
        config.load()
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"the certificate or its key cannot be used: {error.strerror or error}") from None
    return config


@contextlib.contextmanager
def bound(listening: Listening) -> Iterator[socket.socket]:
    """A socket that listens, so that nobody who knows its address is turned away. Raises ConfigError."""
    family = socket.AF_INET6 if ":" in listening.host else socket.AF_INET
    with socket.socket(family) as place:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            place.bind((listening.host, listening.port))
        except OSError as error:
            address = f"{listening.host}:{listening.port}"
            raise ConfigError(f"{address}: cannot be listened on: {error.strerror or error}; choose another") from None
        place.listen(2048)
        yield place


def url_of(place: socket.socket, listening: Listening) -> str:
    """The URL of a listening socket."""
    host = f"[{listening.host}]" if ":" in listening.host else listening.host
    return f"{'https' if listening.certificate else 'http'}://{host}:{place.getsockname()[1]}"


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends as Ctrl-C does. uvicorn raises the signal again once it has ended, which would kill the process
    before its ledger is closed."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _OneWrite:
    """A transport that writes once a turn of the loop: head and body of a reply leave with one system call, not two."""

    def __init__(self, inner: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._inner, self._loop, self._parts = inner, loop, list[bytes]()

    def write(self, data: bytes) -> None:
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def close(self) -> None:
        self._flush()
        self._inner.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def _flush(self) -> None:
        parts, self._parts = self._parts, []
        if parts:
            self._inner.write(b"".join(parts))


class _Timed(HttpToolsProtocol):
    """Closes connections whose requests arrive too slowly, or have a head that is too large."""

    _timer: asyncio.TimerHandle | None = None
    _head_bytes: int | None = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(cast(asyncio.Transport, _OneWrite(transport, self.loop)))
        self._begin(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._timer is None and self._head_bytes is not None:
            self._begin(HEAD_SECONDS)
        if self._head_bytes is not None:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes is not None and self._head_bytes > MOST_HEAD_BYTES:  # and it has not ended yet
            self.transport.abort()

    def on_headers_complete(self) -> None:
        self._head_bytes = None
        self._begin(BODY_SECONDS)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._head_bytes = 0
        self._stop()
        super().on_message_complete()

    def _begin(self, seconds: float) -> None:
        self._stop()
        self._timer = self.loop.call_later(seconds, self.transport.abort)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
