"""The server under slow, greedy and broken clients: they are let go, and the others are answered."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from db import reads
from oracles.spec import OracleSpec
from oracles.watch.settings import WatchSpec
from oracles.wire import registry
from simkit.errors import ConfigError
from studies.service import server
from studies.service.changes import revoke
from studies.service.keys import NewKey
from studies.service.server import Listening, bound, configured, url_of
from tests.studies.service.running import awaited
from tests.studies.service.served import LOCAL, Provider, provider, question

pytestmark = pytest.mark.process


@contextmanager
def served(app: Any, calls: int = 16) -> Iterator[int]:
    """The port of an application."""
    listening = Listening("127.0.0.1", 0, calls=calls)
    with bound(listening) as place:
        running = uvicorn.Server(configured(app, listening))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [place]})
        thread.start()
        try:
            yield int(url_of(place, listening).rpartition(":")[2])
        finally:
            running.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.5)
    monkeypatch.setattr(server, "BODY_SECONDS", 1.0)

    async def echo(request: Any) -> PlainTextResponse:
        return PlainTextResponse(f"{len(await request.body())}")

    async def at_once(_: Any) -> PlainTextResponse:
        return PlainTextResponse("no")

    routes = [Route("/", echo, methods=["POST"]), Route("/no", at_once, methods=["POST"])]
    with served(Starlette(routes=routes), calls=8) as found:
        yield found


def connected(port: int, data: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.sendall(data)
    return connection


def received(connection: socket.socket) -> bytes:
    """Everything until the server closes."""
    parts = []
    try:
        while part := connection.recv(1 << 16):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def answered(port: int, body: bytes = b"abc") -> bool:
    head = f"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    with connected(port, head + body) as connection:
        return received(connection).endswith(f"\r\n\r\n{len(body)}".encode())


HALF = b"POST / HTTP/1.1\r\nhost: x\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(HALF, id="half a head"),
        pytest.param(HALF + b"content-length: 9\r\n\r\nabc", id="half a body"),
        pytest.param(HALF + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", id="half a chunked body"),
        pytest.param(HALF.replace(b" / ", b" /no ") + b"content-length: 9\r\n\r\na", id="a reply before the body"),
    ],
)
def test_what_does_not_arrive_is_not_waited_for(sent: bytes, port: int) -> None:
    with connected(port, sent) as connection:
        began = time.monotonic()
        received(connection)
        assert 0.3 < time.monotonic() - began < 8.0
    assert answered(port)


def send_all(connection: socket.socket, parts: Iterator[bytes], pause: float) -> None:
    for part in parts:
        connection.sendall(part)
        time.sleep(pause)


def test_a_head_that_comes_byte_by_byte_has_no_longer(port: int) -> None:
    with connected(port) as connection, pytest.raises(OSError, match=r"reset|pipe"):
        send_all(connection, (b"G" for _ in range(100)), 0.05)


def test_a_head_without_end_is_cut_off(port: int) -> None:
    lines = (b"x-%d: %s\r\n" % (number, b"y" * 1000) for number in range(100_000))
    with connected(port, HALF) as connection, pytest.raises(OSError, match=r"reset|pipe"):
        send_all(connection, lines, 0.0)
    assert answered(port)


def test_a_large_body_in_one_piece_is_no_large_head(port: int) -> None:
    assert answered(port, b"x" * 300_000)


def test_a_connection_is_kept_for_several_calls(port: int) -> None:
    with connected(port) as connection:
        for _ in range(3):
            connection.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nab")
            assert connection.recv(1 << 16).endswith(b"\r\n\r\n2")
            time.sleep(0.7)  # longer than a head may take


@pytest.mark.parametrize(
    "sent", [b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x00" * 500]
)
def test_what_is_no_http_is_refused(sent: bytes, port: int) -> None:
    with connected(port, sent) as connection:
        assert b"500" not in received(connection)
    assert answered(port)


def test_connections_beyond_the_limit_are_turned_away_and_the_service_lives_on(port: int) -> None:
    held = [connected(port, HALF) for _ in range(8)]
    with connected(port, HALF + b"content-length: 0\r\n\r\n") as connection:
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 503 ")
    for connection in held:
        received(connection)
        connection.close()
    assert answered(port)


def test_a_port_that_is_taken() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(ConfigError, match="cannot be listened on"),
        bound(Listening("127.0.0.1", taken.getsockname()[1])),
    ):
        pass


def test_a_certificate_that_is_none(tmp_path: Path) -> None:
    for name in ("missing", "empty"):
        path = tmp_path / name
        if name == "empty":
            path.write_bytes(b"")
        with pytest.raises(ConfigError, match="certificate"):
            configured(Starlette(), Listening("127.0.0.1", 0, str(path), str(path)))


def test_a_slow_body_gets_a_reply_in_its_format(tmp_path: Path) -> None:
    wire = registry.wire("oip")
    with provider(tmp_path, limits=replace(LOCAL, body_seconds=0.2)) as made, served(made.client.app) as port:
        request = question(wire, made.key())
        lines = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        head = f"POST {request.target} HTTP/1.1\r\nhost: 127.0.0.1\r\n{lines}content-length: 99\r\n\r\n"
        with connected(port, head.encode()) as connection:
            told = received(connection)
        assert told.startswith(b"HTTP/1.1 408 ")
        assert b"did not arrive within 0.2 s" in told


def promised(made: Provider, port: int, key: NewKey, **headers: str) -> bytes:
    """The reply to a call whose body never comes."""
    request = question(registry.wire("oip"), key)
    lines = "".join(f"{name}: {value}\r\n" for name, value in {**request.headers, **headers}.items())
    head = f"POST {request.target} HTTP/1.1\r\nhost: 127.0.0.1\r\n{lines}content-length: 999\r\n\r\n"
    with connected(port, head.encode()) as connection:
        told = b""
        while b"\r\n\r\n{" not in told and (part := connection.recv(1 << 16)):
            told += part
        return told


def test_a_key_that_gets_no_answer_is_told_so_before_its_images_are_read(tmp_path: Path) -> None:
    spec = OracleSpec(watch=WatchSpec(detector="blacklight", action="ban"))
    with provider(tmp_path, spec, limits=replace(LOCAL, body_seconds=0.3)) as made, served(made.client.app) as port:
        spent, banned, ended, fresh = made.key(budget=1), made.key(), made.key(), made.key(budget=0)
        for key in (spent, banned, banned, ended):  # the second time with the same image
            assert made.send(question(registry.wire("oip"), key)).status == 200
        revoke(tmp_path / "keys.toml", ended.key.id)
        for key, kind in ((spent, b"budget"), (banned, b"banned"), (ended, b"expired")):
            told = promised(made, port, key)
            assert b'"kind":"' + kind in told.replace(b" ", b"")
        assert b"simkit-remaining: 0" in promised(made, port, spent).lower()
        assert b"did not arrive" in promised(made, port, spent, **{"idempotency-key": "k"}), "it may be a retry"
        assert b"did not arrive" in promised(made, port, fresh), "nothing is known yet of a key that never asked"
    refused = reads.sql(tmp_path / "provider.db", "SELECT reason, queries FROM refusals ORDER BY reason")
    assert refused.values.tolist() == [["banned", 1], ["budget", 2], ["expired", 1]]


def test_head_and_body_of_a_reply_are_one_write() -> None:
    class Inner:
        def __init__(self) -> None:
            self.written: list[bytes] = []

        def write(self, data: bytes) -> None:
            self.written.append(data)

        def close(self) -> None:
            self.written.append(b"closed")

    async def exchange() -> list[bytes]:
        inner = Inner()
        joined = server._OneWrite(inner, asyncio.get_running_loop())  # type: ignore[arg-type]
        joined.write(b"head ")
        joined.write(b"body")
        await asyncio.sleep(0)
        joined.write(b"last")
        joined.close()
        await asyncio.sleep(0)
        return inner.written

    assert awaited(exchange()) == [b"head body", b"last", b"closed"]
