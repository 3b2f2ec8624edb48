"""One call of a run, from its first try to its answer: attempts are stored, losses repeated, pace and order kept."""

from __future__ import annotations

import hashlib
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from oracles.answers import Answer, FloatArray
from oracles.errors import BudgetExhausted, ModelError, Refused, Unanswered
from oracles.oracle import check_answer
from oracles.remote.config import RemoteConfig
from oracles.remote.credentials import SAYS, ApiKey
from oracles.remote.exchange import Attempt, Attempts, Exchanges, Lost, NotSent
from oracles.remote.pace import Pace
from oracles.remote.target import Target
from oracles.wire.contract import RETRYABLE, HttpReply, HttpRequest, Interface, Problem

FIRST_WAIT, LONGEST_WAIT = 0.25, 20.0
"""Seconds that the back-off may take after the first failure, and at most: full jitter, doubled every time."""

UNREACHED = 5.0
"""Seconds in which a service that never replied is tried; afterwards nobody is kept waiting."""

_KEYS_OF_A_CALL = 8
"""Idempotency keys that are tried where a service knows the first for another request."""

_PASSED = "was answered before"
"""In the refusal, by simkit's own service, of a call whose place is taken by another caller with the same API key."""

_REPLY_BYTES, _BYTES_A_CLASS = 1 << 16, 256


@dataclass(frozen=True, eq=False)
class Chunk:
    """The images of one call. images: float32 (N, C, H, W). first: the ordinal of its first query in the run."""

    run_key: str
    first: int
    images: FloatArray

    def key(self, turn: int = 0) -> str:
        """The idempotency key, hexadecimal; the same in every process. turn: above 0 where the service knows it."""
        parts = [self.run_key, self.first, len(self.images), *([turn] if turn else [])]
        return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()


class TooLarge(Exception):
    """A call has more images than the service takes. most: what it says, None if it does not."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        found = re.search(r"(?:<=|at most|send) (\d{1,9})\b|(\d{1,9}) (?:at most|or fewer)", problem.message)
        self.most = None if found is None else int(found[1] or found[2])
        self.problem = problem


@dataclass(frozen=True, eq=False)
class Service:
    """What is asked: the target, what is known of the model, a connection and a key."""

    target: Target
    interface: Interface
    connection: Exchanges
    key: ApiKey
    config: RemoteConfig


class Caller:
    """The calls of one run to one service. Safe to share among threads.

    sequential: until a first answer, which may state the place of this run among the queries of its key, calls go one
    after the other.
    """

    def __init__(self, service: Service, attempts: Attempts) -> None:
        self._service, self._interface = service, service.interface
        self._wire, self._host = service.target.wire, service.target.host
        self._attempts = attempts
        self._tries = Counter(event.idempotency for event in attempts.attempts() if event.outcome == "sent")
        self._lock, self._random = threading.Lock(), random.Random()
        self._pace = Pace(service.config.pace)
        self._reached = self._read = self._ours = False
        self._offset: int | None = None
        self.sequential = True
        self.unordered = False
        """Whether calls were answered in the order of arrival, since others use the same key."""

    def answer(self, chunk: Chunk, stop: threading.Event) -> Answer:
        """The answer to one call. stop: ends waiting, with Unanswered.

        Raises Refused and BudgetExhausted (nothing was spent), TooLarge, ModelError, and Unanswered where the service
        gave no answer in time. What the recorder of attempts raises is passed on.
        """
        began, turn, failures, other = 0.0, 0, 0, False
        while True:
            self._paced(len(chunk.images), stop)
            placed = self._offset is not None
            try:
                return self._tried(chunk, chunk.key(turn), other)
            except Problem as problem:
                if problem.kind == "key_reused" and turn < _KEYS_OF_A_CALL:
                    # an earlier try may have been answered, and billed, in the other form: another body, the same call
                    turn, other = (turn, True) if self._has_forms and not other else (turn + 1, False)
                    continue
                if self._mended(problem, placed):
                    continue
                if problem.kind not in RETRYABLE or (problem.kind == "failed" and self._is_answered_wrongly(problem)):
                    raise self._final(problem, chunk) from None
                began = began if failures else time.monotonic()  # keeping the pace costs no patience
                self._wait(problem, failures, began, stop)
                failures += 1

    def _wait(self, problem: Problem, failures: int, began: float, stop: threading.Event) -> None:
        """Wait before the next try, as long as the service asks or with full jitter. Raises Unanswered."""
        with self._lock:
            most = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(failures, 16))
            jitter = self._random.uniform(0.0, most)
            reached = self._reached
        wait = jitter if problem.retry_after is None else problem.retry_after + min(jitter, 1.0)
        patience = self._service.config.patience if reached else min(UNREACHED, self._service.config.patience)
        if time.monotonic() + wait - began > patience:
            said = self._said(problem)
            when = "" if problem.retry_after is None else f"; it says to ask again in {problem.retry_after:g} s"
            raise Unanswered(f"{self._host}: no answer within {patience:g} s ({said}){when}; stored answers stay")
        if stop.wait(wait):
            raise Unanswered(f"{self._host}: stopped while waiting ({self._said(problem)})")

    def _paced(self, images: int, stop: threading.Event) -> None:
        if not self._pace.kept(images, stop, self._service.config.patience):
            raise Unanswered(f"{self._host}: stopped while keeping the pace")

    def _tried(self, chunk: Chunk, key: str, other: bool) -> Answer:
        """One try. other: in the form that is not that of the other calls. Raises Problem."""
        request, record, reply = self._request(chunk, key, other), self._opened(chunk, key), None
        most = _REPLY_BYTES + _BYTES_A_CLASS * len(chunk.images) * len(self._interface.classes)
        try:
            reply = self._service.connection.exchange(request, most)
        except NotSent as error:
            record("refused", None)
            raise Problem("unavailable", str(error)) from None
        except Lost as error:
            self._reached = True
            record("lost", None)
            raise Problem("unavailable", str(error)) from None
        except ModelError:
            record("failed", None)
            raise
        finally:
            self._pace.heard(len(chunk.images), reply)
        self._reached = True
        return self._understood(chunk, reply, record)

    def _opened(self, chunk: Chunk, key: str) -> Callable[[str, HttpReply | None], None]:
        """Store that a try is sent; returns what stores its outcome."""
        with self._lock:
            self._tries[key] += 1
            sent = Attempt(chunk.first, len(chunk.images), key, self._tries[key], "sent")
            self._attempts.attempt(sent)

        def record(outcome: str, reply: HttpReply | None) -> None:
            status, charged = (None, None) if reply is None else (reply.status, _charged(reply))
            self._attempts.attempt(replace(sent, outcome=outcome, status=status, charged=charged))

        return record

    def _understood(self, chunk: Chunk, reply: HttpReply, record: Callable[[str, HttpReply | None], None]) -> Answer:
        self._ours = self._ours or _charged(reply) is not None
        if reply.status != 200:
            problem = self._wire.problem(self._service.key.out_of(reply))
            free = problem.kind != "failed" and (reply.status < 500 or reply.status == 503)
            record("refused" if free else "failed", reply)
            raise problem
        try:
            answer = self._wire.understand(reply, len(chunk.images), self._interface)
            check_answer(answer, len(chunk.images), len(self._interface.classes))
        except (Problem, ModelError) as error:
            record("failed", reply)
            raise _Misunderstood(str(error), free=_charged(reply) is not None) from None
        record("answered", reply)
        self._learn(chunk, reply)
        return answer

    def _request(self, chunk: Chunk, key: str, other: bool) -> HttpRequest:
        credential, wire = self._service.key.text, self._wire
        interface = self._interface if not other else _in_form(self._interface, "bytes" if self._in_json else "json")
        request = wire.ask(chunk.images, interface, credential)
        headers = {**request.headers, "idempotency-key": key}
        if self._offset is not None:
            headers["simkit-first-query"] = str(chunk.first + self._offset)
        request = replace(request, headers=headers)
        sign: Any = getattr(wire, "sign", None)
        if sign is None or credential is None:
            return request
        signed: HttpRequest = sign(request, self._host, credential, datetime.now(UTC))
        return signed

    def _learn(self, chunk: Chunk, reply: HttpReply) -> None:
        """After an answer: side by side from here on, and at stated places if the service states them."""
        self._read = True
        place = _number(reply, "simkit-first-query")
        if self.sequential and place is not None:
            self._offset = place - chunk.first
        self.sequential = False

    def _mended(self, problem: Problem, placed: bool) -> bool:
        """Whether the same call should be sent in another way: as JSON, or, if it was `placed`, at any place."""
        if placed and problem.kind == "bad_request" and _PASSED in problem.message:
            self._offset, self.unordered = None, True
            return True
        if self._read or self._ours or not self._has_forms or self._in_json:
            return False
        unread = problem.kind == "failed" and not isinstance(problem, _Misunderstood)  # MLServer's 500 to bytes
        if not unread and problem.kind not in ("bad_request", "invalid_images", "unsupported"):
            return False
        self._interface = _in_form(self._interface, "json")
        return True

    @property
    def _has_forms(self) -> bool:
        """Whether a call can be written in bytes or in JSON."""
        return self._wire.name == "oip"

    @property
    def _in_json(self) -> bool:
        return self._interface.places.get("data") == "json"

    @staticmethod
    def _is_answered_wrongly(problem: Problem) -> bool:
        """Whether another try would be billed for the same reply."""
        return isinstance(problem, _Misunderstood) and not problem.free

    def _said(self, problem: Problem) -> str:
        return self._service.key.without(problem.message)

    def _final(self, problem: Problem, chunk: Chunk) -> Exception:
        """The error for a problem that no repetition mends."""
        host, said, queries = self._host, self._said(problem), len(chunk.images)
        if problem.kind == "budget":
            error = BudgetExhausted("service's", queries, problem.remaining or 0)
            return error if problem.remaining is not None else Refused(queries, "budget", f"{host}: {said}")
        if problem.kind in ("banned", "near_duplicate"):
            return Refused(queries, problem.kind, f"{host} refuses: {said}")
        if problem.kind == "too_large":
            return TooLarge(Problem("too_large", said))
        if problem.kind in ("unauthorized", "expired"):
            return ModelError(key_refused(host, said, self._service.key))
        if problem.kind == "unknown_model":
            return ModelError(f"{self._service.target.name}: {said}; check the address")
        if isinstance(problem, _Misunderstood):
            return ModelError(f"{host}: {said}; is it a service of the format {self._wire.name!r}?")
        return ModelError(f"{host} does not take the call: {said}")


class _Misunderstood(Problem):
    """A reply of status 200 that is no answer. free: whether another try costs nothing."""

    def __init__(self, message: str, free: bool) -> None:
        super().__init__("failed", message)
        self.free = free


def key_refused(host: str, said: str, key: ApiKey) -> str:
    """The message about a key that is missing or wrong."""
    if key.text is None:
        return f"{host} wants an API key ({said}); name where it is with {SAYS}"
    return f"{host} refuses the API key ({said}); check what {SAYS} names"


def _in_form(interface: Interface, data: str) -> Interface:
    return replace(interface, places={**interface.places, "data": data})


def _charged(reply: HttpReply) -> int | None:
    return _number(reply, "simkit-charged")


def _number(reply: HttpReply, header: str) -> int | None:
    text = reply.headers.get(header, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None
