"""A format's service side behind the standard library's HTTP server, for tests with unmodified clients."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from oracles.answers import Answer
from oracles.wire.contract import HttpReply, HttpRequest, Interface, Problem, Question, Wire


class Served:
    """Answers every call with `answers`, or refuses it with that problem; keeps what was asked.

    check: raises Problem, before anything is read.
    """

    def __init__(self, wire: Wire, interface: Interface, check: Callable[[HttpRequest], None] | None = None) -> None:
        self._wire, self._interface, self._check = wire, interface, check
        self.answers: Answer | Problem = Problem("failed", "nothing to answer yet")
        self.questions: list[Question] = []
        self.credentials: list[str | None] = []

    def reply(self, request: HttpRequest) -> HttpReply:
        self.credentials.append(self._wire.credential(request))
        try:
            if self._check is not None:
                self._check(request)
            question = self._wire.read(request, self._interface)
            self.questions.append(question)
            if isinstance(self.answers, Problem):
                raise self.answers
        except Problem as problem:
            return self._wire.refusal(problem)
        return self._wire.answer(question, self.answers, self._interface)


@contextmanager
def served(service: Served) -> Iterator[str]:
    """The service on 127.0.0.1; gives its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", 0)))
            reply = service.reply(HttpRequest("POST", self.path, headers, body))
            self.send_response(reply.status)
            for name, value in {**reply.headers, "content-length": str(len(reply.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
