"""What a request over a network may come to, and the records of it that a ledger keeps."""

from __future__ import annotations

from collections import Counter
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
    def first(self) -> int: ...

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
    """The calls that were sent again though an earlier try may have been billed, and the queries of which that is so.

    A service that says what it charged knows idempotency keys or bills in the open, so that its tries under one key
    are billed once. Queries that went out under several keys, in calls of other sizes, may be billed under each.
    """
    bills = Counter[int]()
    calls = 0
    for tries in _tries(attempts):
        billed = [last for last in tries if last.outcome != "refused"]
        if not billed:
            continue
        told = any(last.outcome == "answered" and last.charged is not None for last in billed)
        asked = range(billed[0].first, billed[0].first + billed[0].queries)
        calls += (len(billed) > 1 and not told) or any(bills[query] for query in asked)
        for query in asked:
            bills[query] += 1 if told else len(billed)
    return calls, sum(times > 1 for times in bills.values())


def sizes_of_calls(attempts: Sequence[StoredAttempt], first: int) -> dict[int, int]:
    """The images of each call from the query `first` on that may have been billed, by the ordinal of its first query.

    A call of the same place and size has the same idempotency key, so that it gets the answer that was paid for.
    """
    billed = [last for tries in _tries(attempts) for last in tries if last.outcome != "refused"]
    return {last.first: last.queries for last in billed if last.first >= first}


def _tries(attempts: Sequence[StoredAttempt]) -> list[list[StoredAttempt]]:
    """The last event of each try, by idempotency key."""
    outcomes: dict[str, dict[int, StoredAttempt]] = {}
    for event in attempts:
        outcomes.setdefault(event.idempotency, {})[event.attempt] = event  # the outcome comes after `sent`
    return [list(tries.values()) for tries in outcomes.values()]


def asked_again(attempts: Sequence[StoredAttempt]) -> int:
    """The queries that the service refused for its rate (429) and answered later, counted at every refusal.

    Rekognition says 400 of a rate, which also stands for calls that are sent in another way, and is not counted.
    """
    answered = {event.idempotency for event in attempts if event.outcome == "answered"}
    refused = (event for event in attempts if event.outcome == "refused" and event.status == 429)
    return sum(event.queries for event in refused if event.idempotency in answered)
