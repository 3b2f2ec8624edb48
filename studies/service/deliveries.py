"""One call on its way to the gate and back, and the rate limits as a reply states them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from oracles.answers import Answer
from oracles.guard import Limiter
from studies.service.keys import Key


@dataclass(frozen=True)
class Delivery:
    """How a question arrived.

    digest: SHA-256 of method, path and unpacked body. idempotency: the key under which a retry gets the stored answer.
    first: the ordinal of its first query among those of the API key on the model; None for the order of arrival.
    key_now: the API key as it is when the call's turn comes, which may be long after it arrived; None if it is fixed.
    """

    digest: bytes
    idempotency: str | None = None
    first: int | None = None
    key_now: Callable[[], Key] | None = None


@dataclass(frozen=True, eq=False)
class Outcome:
    """An answer. charged: queries that this delivery was charged, 0 for a replay. replayed: whether the answer was
    given before, under the same idempotency key. remaining: queries left in the key's budget, None without one. codec,
    data: the answer as it is stored, see `oracles.answers.encode`. first: its place, the number of queries of the key
    on the model before it; a caller that sends several calls at once learns from it where its own queries begin.
    """

    answer: Answer
    charged: int
    replayed: bool
    remaining: int | None
    codec: str
    data: bytes
    first: int


@dataclass(frozen=True)
class RateState:
    """A rate limit at this moment, for the headers `RateLimit` and `RateLimit-Policy`.

    name: `key`, of all calls of the API key, or the name of a model. quota: images (or calls) that may come at once.
    window: seconds in which an empty quota fills up: at `limit` in `seconds`. left: what may come now. reset: seconds
    until the quota is full.
    """

    name: str
    quota: int
    window: float
    left: int
    reset: float
    calls: bool = False
    limit: int = 1
    seconds: int = 1


def state_of(name: str, limiter: Limiter) -> RateState:
    """The state of a limiter at this moment."""
    limit, left = limiter.limit, limiter.left
    one = limit.seconds / limit.limit
    return RateState(
        name, limit.burst, limit.burst * one, left, (limit.burst - left) * one, limit.calls, limit.limit, limit.seconds
    )
