"""The service as a Starlette application: routes of every format, and the deadline and size of every body."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import TypeVar, TypeVarTuple, Unpack

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match, Route

from oracles.wire import registry
from oracles.wire.contract import HttpReply, HttpRequest, Problem, Wire
from oracles.wire.contract import Route as WireRoute
from studies.service.auth import Caller
from studies.service.exchange import Exchange
from studies.service.metrics import CONTENT_TYPE

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_LOG = logging.getLogger("simkit.service")

_ALWAYS = {"x-content-type-options": "nosniff", "cache-control": "no-store"}

_PLACES = (
    *(("/v2/users/", "clarifai"), ("/v2", "oip"), ("/models/", "hf"), ("/hf-inference/", "hf")),
    *(("/customvision/", "customvision"), ("/v1/", "vertex")),
)
"""Which format a path that is nowhere is most likely meant for."""


@dataclass(frozen=True)
class Limits:
    """What the server grants. calls: answered at once, each in a thread. body_seconds: for a body to arrive. hosts:
    names that requests may name, `*` for any."""

    calls: int = 256
    body_seconds: float = 30.0
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")


def application(exchange: Exchange, limits: Limits = Limits()) -> Starlette:
    """The application. Whatever a request holds, it gets the reply of its format, and no exception leaves."""
    served = _Served(exchange, limits)
    routes: list[BaseRoute] = [Route(path, handler) for path, handler in served.own.items()]
    for wire in map(registry.wire, registry.NAMES):
        routes += [Route(at.path, served.endpoint(wire, at), methods=[at.method]) for at in wire.routes]
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=limits.hosts, www_redirect=False)
    app = Starlette(routes=routes, middleware=[hosts], exception_handlers={HTTPException: _nowhere})
    app.router.redirect_slashes = False
    return app


class _Served:
    """The handlers of one application."""

    def __init__(self, exchange: Exchange, limits: Limits) -> None:
        self._exchange, self._limits = exchange, limits
        self._threads = anyio.CapacityLimiter(limits.calls)
        self._openapi = (files("studies.service") / "openapi.yaml").read_bytes()
        self.own = {"/health": self._health, "/metrics": self._metrics, "/openapi.yaml": self._document}

    async def _health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok"}, headers=_ALWAYS)

    async def _metrics(self, request: Request) -> Response:
        return Response(self._exchange.metrics.text(), headers={"content-type": CONTENT_TYPE, **_ALWAYS})

    async def _document(self, request: Request) -> Response:
        return Response(self._openapi, headers={"content-type": "application/yaml", **_ALWAYS})

    def endpoint(self, wire: Wire, route: WireRoute) -> Callable[[Request], Awaitable[Response]]:
        """The handler of one route of a format."""
        reply_to = self._classified if route.purpose == "classify" else self._described(route.purpose == "health")

        async def handle(request: Request) -> Response:
            call = _Call(wire, request)
            try:
                reply, outcome = await reply_to(call), "answered"
                outcome = "replayed" if "idempotency-replayed" in reply.headers else outcome
            except ClientDisconnect:  # before the whole body was there: nothing was asked, and nobody listens
                reply, outcome = HttpReply(400), "gone"
            except Problem as problem:
                reply, outcome = await self._refused(call, problem), problem.kind
            except Exception:  # a fault of ours, which the caller must not see
                _LOG.exception("a call to %s failed; nothing is known of it to its caller", route.path)
                reply, outcome = wire.refusal(Problem("failed", "the service failed; ask again")), "failed"
            seconds = time.perf_counter() - call.began
            self._exchange.metrics.replied(wire.name, self._exchange.known(call.model), outcome, seconds)
            return _response(reply)

        return handle

    async def _classified(self, call: _Call) -> HttpReply:
        exchange = self._exchange
        call.caller = exchange.admitted(call.wire, call.head)
        most = exchange.most_bytes(call.wire, call.model)
        try:
            exchange.check(call.caller, call.head, call.model)
        except Problem as problem:
            assert call.model is not None
            await self._in_thread(exchange.note, call.caller, call.model, problem.kind)
            raise
        request = replace(call.head, body=await self._body(call, most))
        with exchange.metrics.running.track_inprogress():
            return await self._in_thread(self._answered, call, call.caller, request)

    def _answered(self, call: _Call, caller: Caller, request: HttpRequest) -> HttpReply:
        call.caller = self._exchange.verified(caller, request)
        return self._exchange.answer(call.wire, call.caller, request, call.model)

    async def _in_thread(self, function: Callable[[Unpack[Ts]], T], *values: *Ts) -> T:
        return await anyio.to_thread.run_sync(function, *values, limiter=self._threads)

    def _described(self, keyless: bool) -> Callable[[_Call], Awaitable[HttpReply]]:
        async def describe(call: _Call) -> HttpReply:
            return self._exchange.describe(call.wire, call.head, call.model, keyless)

        return describe

    async def _body(self, call: _Call, most: int) -> bytes:
        """The whole body. Raises Problem, ClientDisconnect."""
        too_large = Problem("too_large", f"the body has more than {most} bytes; send fewer images a call")
        length = call.head.headers.get("content-length", "")
        if length.isdecimal() and (len(length) > 15 or int(length) > most):
            raise too_large
        parts, size = list[bytes](), 0
        try:
            with anyio.fail_after(self._limits.body_seconds):
                async for part in call.request.stream():
                    size += len(part)
                    if size > most:
                        raise too_large
                    parts.append(part)
        except TimeoutError:
            raise _Late(self._limits.body_seconds) from None
        return b"".join(parts)

    async def _refused(self, call: _Call, problem: Problem) -> HttpReply:
        if problem.kind in ("unavailable", "failed") and problem.__cause__ is not None:  # what the provider must mend
            _LOG.warning("%s: %s: %s", call.wire.name, problem.message, problem.__cause__)
        if call.caller is None:
            reply = call.wire.refusal(problem)
        else:
            reply = await self._in_thread(self._exchange.refusal, call.wire, problem, call.caller, call.model)
        if isinstance(problem, _Late):
            return replace(reply, status=408, headers={**reply.headers, "connection": "close"})
        return reply


class _Late(Problem):
    """A body that did not arrive in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__("unavailable", f"the body did not arrive within {seconds:g} s; send it again")


class _Call:
    """A request on its way. caller: once it is known."""

    def __init__(self, wire: Wire, request: Request) -> None:
        self.wire, self.request, self.began = wire, request, time.perf_counter()
        self.caller: Caller | None = None
        self.model: str | None = request.path_params.get("model")
        self.head = _head(request)


def _head(request: Request) -> HttpRequest:
    scope = request.scope
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    path, query = scope["raw_path"].partition(b"?")[0], scope["query_string"]
    target = path + b"?" + query if query else path
    return HttpRequest(scope["method"], target.decode("latin-1"), headers)


def _response(reply: HttpReply) -> Response:
    return Response(reply.body, reply.status, {**_ALWAYS, **reply.headers})


async def _nowhere(request: Request, error: Exception) -> Response:
    """404 and 405 in the format that the path is of, else as plain JSON."""
    assert isinstance(error, HTTPException)
    path = request.url.path
    name = next((name for start, name in _PLACES if path.startswith(start)), None)
    if path == "/" and "x-amz-target" in request.headers:
        name = "rekognition"
    headers: dict[str, str] = {}
    if error.status_code == 405:
        methods = _methods(request)
        use = " or ".join(method for method in methods if method != "HEAD")
        problem = Problem("unsupported", f"{request.method} is not possible at this path; use {use}")
        headers["allow"] = ", ".join(methods)
    else:
        problem = Problem("unknown_model", "there is nothing at this path; see /openapi.yaml")
    if name is None:
        return JSONResponse({"error": problem.message}, error.status_code, {**_ALWAYS, **headers})
    reply = registry.wire(name).refusal(problem)
    return _response(replace(reply, status=error.status_code, headers={**reply.headers, **headers}))


def _methods(request: Request) -> Sequence[str]:
    routes: Sequence[BaseRoute] = request.app.routes
    found = [route.methods or () for route in routes if _at(route, request) and isinstance(route, Route)]
    return sorted({method for methods in found for method in methods})


def _at(route: BaseRoute, request: Request) -> bool:
    return route.matches(request.scope)[0] is not Match.NONE
