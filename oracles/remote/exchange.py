"""What a request over a network may come to, and the records of it that a ledger keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from oracles.wire.contract import HttpReply, HttpRequest


class NotSent(Exception):
    """No byte of the request left this machine, so that it was not answered."""


class Lost(Exception):
    """The request left, and no whole reply came back: it may have been answered and billed."""


class Exchanges(Protocol):
    """What sends requests; see `oracles.remote.transport.Connection`."""

    def exchange(self, request: HttpRequest, most: int) -> HttpReply: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Attempt:
    """One event of a request: `sent`, stored before a byte leaves, and its outcome, stored after.

    first: queries of the run before it. idempotency: the key of the request. attempt: 1 for the first try. outcome:
    `sent`; `answered`, `refused` (for nothing), `lost` (no reply), or `failed` (a reply that is neither). status: of
    HTTP. charged: queries that the service says it charged; None if it does not say.
    """

    first: int
    queries: int
    idempotency: str
    attempt: int
    outcome: str
    status: int | None = None
    charged: int | None = None


class StoredAttempt(Protocol):
    """An `Attempt` as a ledger returns it."""

    @property
    def queries(self) -> int: ...

    @property
    def idempotency(self) -> str: ...

    @property
    def attempt(self) -> int: ...

    @property
    def outcome(self) -> str: ...

    @property
    def status(self) -> int | None: ...

    @property
    def charged(self) -> int | None: ...


class Attempts(Protocol):
    """Where the attempts of a run are stored. Safe to share among threads."""

    def attempt(self, attempt: Attempt) -> None:
        """Store one event; it is there when this returns."""
        ...

    def attempts(self) -> Sequence[StoredAttempt]:
        """The events of this run so far, those of earlier processes included."""
        ...


class MemoryAttempts:
    """Attempts in a list, for an oracle that belongs to no run."""

    def __init__(self) -> None:
        self._kept: list[Attempt] = []

    def attempt(self, attempt: Attempt) -> None:
        self._kept.append(attempt)

    def attempts(self) -> list[Attempt]:
        return list(self._kept)


def perhaps_billed_twice(attempts: Sequence[StoredAttempt]) -> tuple[int, int]:
    """The calls that were sent again though an earlier try may have been billed, and their queries.

    A service that says what it charged knows idempotency keys or bills in the open, so that its calls do not count.
    """
    outcomes: dict[str, dict[int, StoredAttempt]] = {}
    for event in attempts:
        outcomes.setdefault(event.idempotency, {})[event.attempt] = event  # the outcome comes after `sent`
    calls = queries = 0
    for tries in outcomes.values():
        billed = [last for last in tries.values() if last.outcome != "refused"]
        told = any(last.outcome == "answered" and last.charged is not None for last in billed)
        if len(billed) > 1 and not told:
            calls, queries = calls + 1, queries + billed[0].queries
    return calls, queries


def asked_again(attempts: Sequence[StoredAttempt]) -> int:
    """The queries that the service refused for its rate (429) and answered later, counted at every refusal.

    Rekognition says 400 of a rate, which also stands for calls that are sent in another way, and is not counted.
    """
    answered = {event.idempotency for event in attempts if event.outcome == "answered"}
    refused = (event for event in attempts if event.outcome == "refused" and event.status == 429)
    return sum(event.queries for event in refused if event.idempotency in answered)
