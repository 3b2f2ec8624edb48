"""One API key on one model: its oracle stack and its run in the provider's ledger."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from db.book import Book, BookRun
from db.errors import StorageError
from db.records import RunInfo
from db.service_records import Beside
from oracles.answers import Answer
from oracles.budget import Budget
from oracles.errors import InvalidSpec
from oracles.guard import FINGERPRINT, WINDOW, Clock, Earlier, RateLimit, RateLimited, fingerprints
from oracles.meter import AlarmRecord, CallRecord, Recorded
from oracles.oracle import ImageShape, Oracle, Tag
from oracles.spec import OracleSpec, provided
from oracles.watch.watched import Suspicion
from studies.scan.canonical import canonical, digest
from studies.scan.run_key import environment

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A model of the service. sha256: of its file. spec: what is withheld from every key."""

    name: str
    oracle: Oracle
    sha256: str
    spec: OracleSpec


class Room:
    """The bytes that kept images may still take in the ledger, shared by all keys. 0: none are kept."""

    def __init__(self, cap: int, kept: int) -> None:
        self.keeps, self.left, self.lock = cap > 0, max(0, cap - kept), threading.Lock()


class OneAtATime:
    """A model that answers one call at a time, all of it or nothing: what a failed call answered is not passed on."""

    def __init__(self, inner: Oracle) -> None:
        self._inner, self._lock = inner, threading.Lock()

    @property
    def n_classes(self) -> int:
        return self._inner.n_classes

    @property
    def image_shape(self) -> ImageShape:
        return self._inner.image_shape

    def query(self, images: torch.Tensor, tag: Tag | None = None) -> Answer:
        """See `Oracle.query`."""
        with self._lock:
            return self._inner.query(images, tag)


def restricted(spec: OracleSpec, further: OracleSpec) -> OracleSpec:
    """What both specs withhold. Rates are refused, not waited for. Raises InvalidSpec.

    The rate limit, the near-duplicate block and the seed of `further` replace those of `spec`.
    """
    fields = spec.model_dump(exclude_none=True) | further.model_dump(exclude_unset=True, exclude_none=True)
    for name, both in _BOTH.items():
        values = [value for value in (getattr(spec, name), getattr(further, name)) if value is not None]
        if values:
            fields[name] = both(values)
    if fields["label_only"]:
        fields.pop("top_k", None)
    if "rate_limit" in fields:
        fields["rate_policy"] = "refuse"
    return OracleSpec(**fields)


_BOTH: dict[str, Callable[[list[float]], float]] = {
    **{"top_k": min, "decimals": min, "near_duplicate_share": min},
    **{"label_only": max, "threshold": max, "score_noise": max, "quantized": max, "input_noise": max},
}
"""How the stricter of two values is told."""


def check_servable(spec: OracleSpec) -> None:
    """Raise InvalidSpec on settings that only a simulated service has."""
    for name in ("seconds_per_call", "seconds_per_query"):
        if getattr(spec, name) is not None:
            raise InvalidSpec(
                f"{name} is for simulated services; leave it out, a real one takes the time that it takes"
            )
    if spec.real_time or spec.rate_policy == "wait":
        raise InvalidSpec(
            "real_time and rate_policy = 'wait' are for simulated services; a real one refuses; leave out"
        )


@dataclass(frozen=True, eq=False)
class Request:
    """What is stored beside the call that is running. images: float32 (N, C, H, W)."""

    images: torch.Tensor
    idempotency: str | None
    digest: bytes


class Session:
    """The stack of a key on a model. Only one thread at a time may call `answer`."""

    def __init__(self, book: Book, key: str, served: ServedModel, spec: OracleSpec, budget: Budget) -> None:
        self.spec, self.run = spec, book.begin(_info(key, served, spec))
        self._served, self._budget = served, budget
        self.limiter: RateLimited | None = None
        self._suspicion = Suspicion()

    def build(self, clock: Clock, room: Room) -> None:
        """Make the stack; its guards and its noise go on where earlier processes ended."""
        # a ban is kept by the gate, which also knows of pardons
        self._suspicion.alarmed = any(alarm.action != "ban" for alarm in self.run.alarms())
        oracle = provided(self.spec, self._served.oracle, self._budget, clock, self._earlier(), self._suspicion)
        self.limiter = oracle if isinstance(oracle, RateLimited) else None
        prints = self.spec.near_duplicate is not None
        self._recorder = _Recorder(self.run, self._budget, room, self._suspicion.waiting, prints)
        self._stack, self._stands = Recorded(oracle, self._recorder), self.run.queries

    @property
    def current(self) -> bool:
        """Whether the stack stands where the run does: False after calls of other processes, or one that could not be
        stored, so that its guards and its noise must be built anew."""
        return self._stands == self.run.queries

    def answer(self, request: Request) -> tuple[Answer, CallRecord]:
        """The answer, committed and charged, and its record. Raises as `Oracle.query`, and StorageError.

        After an error the budget is as before, but for a call that is kept in memory.
        """
        self._recorder.request = request
        stored, spent = self.run.queries, self._budget.spent
        try:
            answer = self._stack.query(request.images)
        except BaseException:
            if charged := self._budget.spent - spent:  # it failed after the model, whose noise went on
                self._stands = -1
                if self.run.queries == stored:  # else the call and its alarms are kept in memory, and it is charged
                    self._budget.release(charged)
                    self._suspicion.alarmed = False
            raise
        self._stands = self.run.queries
        assert self._recorder.last is not None
        return answer, self._recorder.last

    def take_ban(self) -> bool:
        """Whether an alarm since the last time bans the caller; it is about a call that is stored."""
        if self.spec.watch is None or self.spec.watch.action != "ban" or not self._suspicion.alarmed:
            return False
        self._suspicion.alarmed = False
        return True

    def _earlier(self) -> Earlier:
        spec, taken, seen = self.spec, list[tuple[int, int]](), None
        if spec.rate_limit is not None:
            limit = RateLimit.parse(spec.rate_limit, spec.rate_burst)
            taken = in_ms(self.run.recent(time.time() - window(limit)))
        if spec.near_duplicate is not None:
            seen = self.run.fingerprints(FINGERPRINT, spec.near_duplicate_window or WINDOW)
        return Earlier(self.run.queries, seen, taken)


def window(limit: RateLimit) -> float:
    """Seconds after which a call no longer counts against a limit."""
    return math.ceil(limit.burst * limit.seconds / limit.limit) + 1.0


def in_ms(rows: Sequence[tuple[float, int]]) -> list[tuple[int, int]]:
    """Rows of time in seconds and images, in milliseconds."""
    return [(math.ceil(at * 1000), images) for at, images in rows]


class _Recorder:
    """Records each call with what stands beside it, in one transaction."""

    def __init__(self, run: BookRun, budget: Budget, room: Room, alarms: list[AlarmRecord], prints: bool) -> None:
        self._run, self._budget, self._room, self._alarms, self._prints = run, budget, room, alarms, prints
        self.request: Request | None = None
        self.last: CallRecord | None = None

    def open_step(self, number: int, purpose: str, state: str) -> int:
        raise StorageError(f"step {number}: calls of a service belong to no step")

    def check_step(self, step: int | None) -> None:
        self._run.check_step(step)

    def record(self, call: CallRecord) -> None:
        self._commit(call)
        self._alarms.clear()
        self.last = call

    def _commit(self, call: CallRecord) -> None:
        request = self.request
        assert request is not None
        prints = fingerprints(request.images) if self._prints else None
        beside = Beside(
            request.idempotency, request.digest.hex(), prints, cap=self._budget.cap, alarms=tuple(self._alarms)
        )
        if not self._room.keeps:
            self._run.record(call, beside)
            return
        with self._room.lock:
            before = self._run.kept
            self._run.record(call, replace(beside, images=request.images.numpy(), room=self._room.left))
            self._room.left -= self._run.kept - before

    def refuse(self, step: int | None, queries: int, reason: str) -> None:
        self._run.tally(queries, reason)

    def alarm(self, *alarms: AlarmRecord) -> None:
        raise StorageError("alarms of a service are stored with their calls")


def _info(key: str, served: ServedModel, spec: OracleSpec) -> RunInfo:
    """The run of a key on a model: another spec or model file is another run, whose noise begins anew."""
    settings = {"service": {"key": key, "model": served.name}, "oracle": json.loads(spec.to_json())}
    return RunInfo(
        key=digest(settings | {"sha256": served.sha256}),
        model=served.name,
        model_hash=served.sha256,
        data="service",
        data_hash="",
        oracle=spec.to_json(),
        config=canonical(settings),
        seed=spec.seed,
        budget=None,
        environment=canonical(environment()),
    )
