"""Everything between a question and an answer of a service: who may ask, what it costs, what a retry gets. No HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from threading import Lock

from db.book import Book
from db.errors import StorageError
from oracles.errors import InvalidSpec
from oracles.guard import WallClock
from oracles.wire.contract import Kind, Problem, Question
from studies.service.caller import KeyCalls
from studies.service.deliveries import Delivery, Outcome, RateState
from studies.service.keys import Key, check_valid
from studies.service.session import OneAtATime, Room, ServedModel, check_servable, restricted

__all__ = ["Delivery", "Gate", "Outcome", "RateState"]


class Gate:
    """The one way to the models of a service. Safe to share among threads.

    models: by name. book: the provider's ledger, or a database that replicas share, open for as long as the gate is
    used; what it holds of earlier processes goes on. keep: bytes that the images asked may take in the book, 0 to keep
    none. Raises InvalidSpec on a spec that cannot be served.
    """

    def __init__(self, models: Mapping[str, ServedModel], book: Book, keep: int = 0) -> None:
        for served in models.values():
            check_servable(served.spec)
        self._models = {name: replace(served, oracle=OneAtATime(served.oracle)) for name, served in models.items()}
        self._book, self._clock = book, WallClock()
        self._room = Room(keep, book.kept_bytes())
        self._calls: dict[str, KeyCalls] = {}
        self._lock = Lock()

    def call(self, key: Key, model: str, question: Question, delivery: Delivery) -> Outcome:
        """Answer a question and charge the key. Blocks while earlier calls of the key run; keys run side by side.

        Raises Problem, for which nothing was charged, and which is recorded with its reason.
        """
        served = self._served(key, model)
        return self._of(key).call(key, served, question, delivery)

    def check(self, key: Key, retry: bool) -> None:
        """Raise Problem for a call that is refused whatever its body is; by what is in memory, so that nothing blocks.

        retry: whether the call may be a retry, which gets its stored answer also where the budget is spent.
        """
        calls = self._calls.get(key.id)  # without the lock, which is held while a book is read
        if calls is None:
            check_valid(key)
        else:
            calls.check(key, retry)

    def refused(self, key: Key, model: str, reason: Kind) -> None:
        """Record a call that could not be read, as one query. Raises Problem for a model that the key may not ask."""
        self._of(key).refused(key, self._served(key, model), reason)

    def answers(self, key: Key, model: str) -> str:
        """What kind of answers the key gets: `scores`, `top` and a number of classes, or `label`. Raises Problem."""
        served = self._served(key, model)
        try:
            spec = restricted(served.spec, key.oracle)
        except InvalidSpec as error:
            raise Problem("unavailable", "the service cannot answer for now; ask again", 5.0) from error
        return "label" if spec.label_only else "scores" if spec.top_k is None else f"top{spec.top_k}"

    def rates(self, key: Key, model: str) -> tuple[RateState, ...]:
        """The rate limits of the key on the model, the tightest first; empty without any."""
        return self._of(key).rates(key, self._served(key, model))

    def seen_rates(self, key: Key) -> tuple[RateState, ...]:
        """The rate limits that the key has met since the service started: of all models (`key`), then of each."""
        with self._lock:
            calls = self._calls.get(key.id)
        return () if calls is None else calls.seen_rates()

    def remaining(self, key: Key) -> int | None:
        """Queries left in the key's budget, None without one."""
        return self._of(key).remaining(key)

    def _served(self, key: Key, model: str) -> ServedModel:
        served = self._models.get(model)
        if served is None or (key.models is not None and model not in key.models):
            raise Problem("unknown_model", f"there is no model {model[:100]!r} for this key; list the models")
        return served

    def _of(self, key: Key) -> KeyCalls:
        with self._lock:
            if key.id not in self._calls:
                try:
                    known = self._book.caller(key.id)
                except StorageError as error:
                    raise Problem("unavailable", "the service cannot answer for now; ask again", 5.0) from error
                self._calls[key.id] = KeyCalls(self._book, known, self._clock, self._room)
            return self._calls[key.id]
