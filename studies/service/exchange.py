"""From one request to its reply, in any format. Knows no server: a request here has all its bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from oracles.wire.bodies import MOST_BYTES, picture_bytes, unpacked
from oracles.wire.contract import HttpReply, HttpRequest, Interface, Kind, Problem, Question, Wire
from oracles.wire.oip import JSON_BYTES, SPARE
from oracles.wire.rekognition import Rekognition
from studies.service import auth
from studies.service.auth import Caller
from studies.service.gate import Gate, Outcome
from studies.service.headers import ANSWERS, IDEMPOTENCY, cost, delivery_of, limits, of_answer
from studies.service.keys import Key, KeyFile, check_valid
from studies.service.metrics import Metrics


class Exchange:
    """Answers requests. Safe to share among threads; `answer` blocks while earlier calls of the key run.

    interfaces: by the models' names, those of the gate.
    """

    def __init__(self, gate: Gate, keys: KeyFile, interfaces: Mapping[str, Interface], metrics: Metrics) -> None:
        self._gate, self._keys, self._interfaces, self.metrics = gate, keys, interfaces, metrics

    def admitted(self, wire: Wire, request: HttpRequest) -> Caller:
        """The caller by the headers. Raises Problem."""
        return auth.admitted(wire, request, self._keys)

    def verified(self, caller: Caller, request: HttpRequest) -> Caller:
        """The caller, after its signature was checked if one is due. Raises Problem."""
        return auth.verified(caller, request)

    def check(self, caller: Caller, request: HttpRequest, model: str | None) -> None:
        """Raise Problem by the headers, before the body is read, for a key that gets no answer whatever it asks.

        Of a caller whose signature is still due nothing is told, and where the body names the model, it is waited for.
        """
        if caller.secret is None and model is not None and self._allowed(caller.key, model):
            self._gate.check(caller.key, retry=any(name in request.headers for name in IDEMPOTENCY))

    def note(self, caller: Caller, model: str, reason: Kind) -> None:
        """Record a call that `check` refused, as one query. Raises Problem."""
        self._gate.refused(caller.key, model, reason)

    def known(self, name: str | None) -> str:
        """The name if a model has it, else empty: what may stand in a label."""
        return name if name is not None and name in self._interfaces else ""

    def most_bytes(self, wire: Wire, model: str | None) -> int:
        """The size of the largest body that a call of the model may have; of any model for None. Raises Problem."""
        chosen = self._interfaces.values() if model is None else [self._interface(None, model)]
        return max(_most_bytes(wire, interface) for interface in chosen)

    def answer(self, wire: Wire, caller: Caller, request: HttpRequest, model: str | None) -> HttpReply:
        """The reply to a call that carries images. model: as the path names it, None where the body does.

        caller: one that `verified` returned. Raises Problem, for which nothing was charged.
        """
        plain = unpacked(request, self.most_bytes(wire, model))
        name = _model_in(wire, plain) if model is None else model
        interface = self._interface(caller.key, name)
        question, outcome = self._outcome(wire, caller.key, plain, interface)
        self.metrics.charged(name, outcome.charged)
        reply = wire.answer(question, outcome.answer, interface)
        told = of_answer(outcome)
        with suppress(Problem):  # the call is charged, so that its answer is given also without its rates
            told = limits(self._gate.rates(caller.key, name)) | told
        return replace(reply, headers={**told, **reply.headers})

    def refusal(self, wire: Wire, problem: Problem, caller: Caller, model: str | None) -> HttpReply:
        """The reply that says `problem` to a caller, with what is left to it; without that before it is verified."""
        reply = wire.refusal(problem)
        if caller.secret is not None:  # an id alone, which is in every signed request, is no proof
            return reply
        told: dict[str, str] = {}
        try:
            told = cost(0, self._gate.remaining(caller.key))
            if model is not None and self._allowed(caller.key, model):
                told |= limits(self._gate.rates(caller.key, model))
        except Problem:  # what cannot be told now is left out; the refusal counts more
            pass
        return replace(reply, headers={**told, **reply.headers})

    def describe(self, wire: Wire, request: HttpRequest, model: str | None, keyless: bool) -> HttpReply:
        """The reply to a route that states the interface, or for which no key is needed. Raises Problem."""
        key = None if keyless else self.admitted(wire, request).key
        if key is not None:
            check_valid(key)
        name = next(iter(self._interfaces)) if model is None else model
        reply = wire.describe(request, self._interface(key, name))
        if key is None:
            return reply
        return replace(reply, headers={ANSWERS: self._gate.answers(key, name), **reply.headers})

    def _outcome(self, wire: Wire, key: Key, request: HttpRequest, interface: Interface) -> tuple[Question, Outcome]:
        try:
            question = wire.read(request, interface)
            delivery = replace(delivery_of(request), key_now=lambda: self._keys.current(key))
        except Problem as problem:
            self._gate.refused(key, interface.model, problem.kind)
            raise
        return question, self._gate.call(key, interface.model, question, delivery)

    def _allowed(self, key: Key, name: str) -> bool:
        return name in self._interfaces and (key.models is None or name in key.models)

    def _interface(self, key: Key | None, name: str) -> Interface:
        if name not in self._interfaces or not (key is None or self._allowed(key, name)):
            raise Problem("unknown_model", f"there is no model {name[:100]!r} for this key; ask the provider")
        return self._interfaces[name]


def _model_in(wire: Wire, request: HttpRequest) -> str:
    if isinstance(wire, Rekognition):
        return wire.model_of(request)
    raise Problem("unknown_model", "the path names no model")


def _most_bytes(wire: Wire, interface: Interface) -> int:
    if wire.most is not None:
        interface = replace(interface, max_batch=min(wire.most, interface.max_batch))
    if wire.pictures:
        return picture_bytes(interface)
    return min(MOST_BYTES, SPARE + JSON_BYTES * interface.max_batch * math.prod(interface.image_shape))
