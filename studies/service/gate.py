"""Everything between a question and an answer of a service: who may ask, what it costs, what a retry gets. No HTTP."""

from __future__ import annotations

from dataclasses import dataclass

from oracles.answers import Answer
from oracles.wire.contract import Question
from studies.service.keys import Key


@dataclass(frozen=True)
class Delivery:
    """How a question arrived.

    digest: SHA-256 of method, path and unpacked body. idempotency: the key under which a retry gets the stored answer.
    first: the ordinal of its first query among those of the API key on the model; None for the order of arrival.
    """

    digest: bytes
    idempotency: str | None = None
    first: int | None = None


@dataclass(frozen=True, eq=False)
class Outcome:
    """An answer. charged: queries that this delivery was charged, 0 for a replay. replayed: whether the answer was
    given before, under the same idempotency key. remaining: queries left in the key's budget, None without one. codec,
    data: the answer as it is stored, see `oracles.answers.encode`."""

    answer: Answer
    charged: int
    replayed: bool
    remaining: int | None
    codec: str
    data: bytes


@dataclass(frozen=True)
class RateState:
    """A rate limit at this moment, for the headers `RateLimit` and `RateLimit-Policy`.

    name: `key`, of all calls of the API key, or the name of a model. quota: images (or calls) that may come at once.
    window: seconds in which an empty quota fills up. left: what may come now. reset: seconds until the quota is full.
    """

    name: str
    quota: int
    window: float
    left: int
    reset: float
    calls: bool = False


class Gate:
    """The one way to the models of a service. Safe to share among threads."""

    def call(self, key: Key, model: str, question: Question, delivery: Delivery) -> Outcome:
        """Answer a question and charge the key. Blocks while earlier calls of the key run; keys run side by side.

        Raises Problem, for which nothing was charged, and which is recorded with its reason.
        """
        raise NotImplementedError

    def rates(self, key: Key, model: str) -> tuple[RateState, ...]:
        """The rate limits of the key on the model, the tightest first; empty without any."""
        raise NotImplementedError

    def remaining(self, key: Key) -> int | None:
        """Queries left in the key's budget, None without one."""
        raise NotImplementedError
