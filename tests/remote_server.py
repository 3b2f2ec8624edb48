"""A small service over HTTP for tests of callers: any wire format, keys, charges, retries for free, and faults."""

from __future__ import annotations

import random
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch

from oracles.oracle import Oracle
from oracles.wire.bodies import json_reply
from oracles.wire.contract import HttpReply, HttpRequest, Interface, Problem, Question, Wire
from oracles.wire.oip import OpenInference

FAULTS = ("drop_before", "drop_after", "error", "unavailable", "slow", "truncated")


@dataclass
class Behaviour:
    """What a test service does. fails: number of a request -> the name of a fault, or None.

    idempotent: knows idempotency keys. says: sends the headers of simkit's service. ordered: keeps Simkit-First-Query.
    budget: queries in all. key: the only key that it takes. before: may answer a request in its own way. slow: seconds.
    """

    fails: Callable[[int], str | None] = lambda _: None
    idempotent: bool = True
    says: bool = True
    ordered: bool = True
    budget: int | None = None
    key: str | None = None
    before: Callable[[HttpRequest], HttpReply | None] = lambda _: None
    slow: float = 0.0


def seeded(share: float, seed: int, kinds: tuple[str, ...] = FAULTS) -> Callable[[int], str | None]:
    """A fault in `share` of the requests, the same for the same seed."""

    def fails(number: int) -> str | None:
        draw = random.Random(f"{seed}/{number}")
        return draw.choice(kinds) if draw.random() < share else None

    return fails


@dataclass
class TestService:
    """A model behind HTTP on 127.0.0.1; see `serving`. asked, charged: queries by idempotency key."""

    __test__ = False

    wire: Wire
    oracle: Oracle
    interface: Interface
    behaviour: Behaviour
    url: str = ""
    asked: Counter[str] = field(default_factory=Counter)
    charged: Counter[str] = field(default_factory=Counter)
    requests: list[HttpRequest] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stored: dict[str, tuple[bytes, HttpReply, str]] = {}
        self._turn, self._next, self._number = threading.Condition(), 0, 0
        self.flying = self.most_flying = 0

    @property
    def spent(self) -> int:
        return sum(self.charged.values())

    def fault(self, request: HttpRequest) -> str | None:
        with self._turn:
            if request.method != "POST":
                return None
            self.requests.append(request)
            self._number += 1
            return self.behaviour.fails(self._number)

    def reply(self, request: HttpRequest) -> HttpReply:
        try:
            own = self.behaviour.before(request)
            if own is not None:
                return own
            if self.behaviour.key is not None and self.wire.credential(request) != self.behaviour.key:
                raise Problem("unauthorized", f"no such key: {self.wire.credential(request)}")
            if request.method == "GET":
                return self.wire.describe(request, self.interface)
            return self._answer(request, self.wire.read(request, self.interface))
        except Problem as problem:
            return self.wire.refusal(problem)

    def _answer(self, request: HttpRequest, question: Question) -> HttpReply:
        key = request.headers.get("idempotency-key", "") if self.behaviour.idempotent else ""
        first, images = request.headers.get("simkit-first-query"), len(question.images)
        with self._turn:
            self.flying += 1
            self.most_flying = max(self.most_flying, self.flying)
            try:
                time.sleep(self.behaviour.slow)
                if key in self._stored:
                    return self._replayed(key, request.body)
                if first is not None and self.behaviour.ordered:
                    self._turn.wait_for(lambda: self._next >= int(first) or key in self._stored, timeout=10.0)
                    if key in self._stored:
                        return self._replayed(key, request.body)
                    if self._next != int(first):
                        raise Problem("bad_request", f"query {first} was answered before; the next one is {self._next}")
                if self.behaviour.budget is not None and self.spent + images > self.behaviour.budget:
                    raise Problem("budget", "the budget is exhausted", remaining=self.behaviour.budget - self.spent)
                answer = self.oracle.query(torch.from_numpy(question.images.copy()))
                reply = self.wire.answer(question, answer, self.interface)
                self.charged[key or f"call {self._number}/{len(self.charged)}"] += images
                self.seen.append(images)
                place, self._next = str(self._next), self._next + images
                if key:
                    self._stored[key] = request.body, reply, place
                self._turn.notify_all()
                return self._with(reply, {"simkit-charged": str(images), "simkit-first-query": place})
            finally:
                self.flying -= 1

    def _replayed(self, key: str, body: bytes) -> HttpReply:
        before, reply, place = self._stored[key]
        if before != body:
            raise Problem("key_reused", "this idempotency key came with another request")
        return self._with(reply, {"simkit-charged": "0", "idempotency-replayed": "true", "simkit-first-query": place})

    def _with(self, reply: HttpReply, more: Mapping[str, str]) -> HttpReply:
        return HttpReply(reply.status, {**reply.headers, **(more if self.behaviour.says else {})}, reply.body)


@contextmanager
def serving(
    oracle: Oracle,
    behaviour: Behaviour | None = None,
    wire: Wire | None = None,
    certificate: tuple[str, str] | None = None,
    **interface: Any,
) -> Iterator[TestService]:
    """A service while the body runs; `url` is where its model is in the Open Inference Protocol.

    certificate: files of a certificate and its key, for TLS.
    """
    classes = tuple(f"class {number}" for number in range(oracle.n_classes))
    about = Interface(**{"model": "net", "image_shape": oracle.image_shape, "classes": classes, **interface})
    service = TestService(wire or OpenInference(), oracle, about, behaviour or Behaviour())
    server = _Server(("127.0.0.1", 0), _handler(service))
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    service.url = (
        f"{'http' if certificate is None else 'https'}://127.0.0.1:{server.server_port}/v2/models/{about.model}"
    )
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Silent: callers go away on purpose."""


def _handler(service: TestService) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            request = HttpRequest(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body)
            fault = service.fault(request)
            if fault == "drop_before":
                self.close_connection = True
                return
            if fault in ("error", "unavailable"):
                self._send(json_reply({"error": "a fault"}, 500 if fault == "error" else 503))
                return
            reply = service.reply(request)
            if fault == "slow":
                time.sleep(0.05)
            if fault == "drop_after":
                self.close_connection = True
                return
            self._send(reply, truncated=fault == "truncated")

        do_GET = do_POST = _do  # noqa: N815 (named by the standard library)

        def _send(self, reply: HttpReply, truncated: bool = False) -> None:
            headers = {**reply.headers, "content-length": str(len(reply.body))}
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            body = reply.body[: len(reply.body) // 2] if truncated else reply.body
            self.wfile.write(f"HTTP/1.1 {reply.status} x\r\n{lines}\r\n".encode() + body)
            self.close_connection = self.close_connection or truncated

        def log_message(self, format: str, *args: Any) -> None:
            """Silent."""

    return Handler
