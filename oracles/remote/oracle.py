"""The remote oracle: an `Oracle` whose answers come over a network, several calls at a time, in their order."""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from oracles.answers import Answer, FloatArray
from oracles.errors import BudgetExhausted, ModelError, OracleError, Refused, ServiceBudgetSpent
from oracles.oracle import ImageShape, Oracle, Tag, Wrapper, check_range, check_shape
from oracles.partial import carried, carrying
from oracles.parts import one_answer
from oracles.remote.caller import Caller, Chunk, Service, TooLarge
from oracles.remote.exchange import Attempts, MemoryAttempts, asked_again, perhaps_billed_twice, sizes_of_calls

if TYPE_CHECKING:
    import torch


class RestToAsk(OracleError):
    """The first images of a call were answered, which the error carries; the same call gets the rest."""


@dataclass(eq=False)
class _Flight:
    """A call that is on its way. future: its answer."""

    chunk: Chunk
    future: Future[Answer] = field(default_factory=Future)
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def answered(self) -> bool:
        return self.future.done() and self.future.exception() is None

    def is_about(self, images: FloatArray) -> bool:
        return np.array_equal(self.chunk.images, images)


class RemoteOracle:
    """A model behind a service, as `oracles.remote.remote` makes it.

    A query is split by the service's batch limit, and up to `in_flight` calls are sent side by side. Every call has an
    idempotency key, so that a service that knows such keys bills no answer twice, whatever was lost on the way.
    identity: SHA-256 of the format, the address and the interface. Raises what `Caller.answer` raises; the error
    carries the answer to the images before.
    """

    def __init__(self, service: Service) -> None:
        self._service, self._interface = service, service.interface
        self._batch = min(self._interface.max_batch, service.target.wire.most or self._interface.max_batch)
        self._flights: dict[int, _Flight] = {}
        self._attempts: Attempts = MemoryAttempts()
        self.begin(secrets.token_hex(16), 0, MemoryAttempts(), in_parts=False)

    @property
    def n_classes(self) -> int:
        return len(self._interface.classes)

    @property
    def image_shape(self) -> ImageShape:
        return self._interface.image_shape

    @property
    def name(self) -> str:
        """The model as the user named it."""
        return self._service.target.name

    @property
    def identity(self) -> str:
        """See the class."""
        about, target = self._interface, self._service.target
        where = [target.wire.name, target.base, target.prefix, about.model, sorted(target.places.items())]
        what = [about.image_shape, about.classes, about.datatype, about.places.get("output"), target.content]
        return hashlib.sha256(json.dumps([where, what]).encode()).hexdigest()

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know about the answers and the bill of this run."""
        attempts, found = self._attempts.attempts(), []
        calls, queries = perhaps_billed_twice(attempts)
        if again := asked_again(attempts):
            found.append(
                f"{again:,} queries were refused by the service for now and asked again (see the table attempts)"
            )
        if calls:
            found.append(
                f"{calls} calls of {queries} images were sent again after a lost reply or an interruption: the service "
                "may have billed them twice (see the table attempts)"
            )
        if self._caller.unordered:
            found.append("others used the same API key: the service answered the calls in the order of their arrival")
        return tuple(found)

    def begin(self, run_key: str, first: int, attempts: Attempts, *, in_parts: bool) -> None:
        """Say which run the next queries belong to.

        first: queries of it that were answered before. attempts: where each try is stored. in_parts: raise RestToAsk
        as soon as a call of several is answered, so that it can be stored, instead of waiting for all; the caller then
        sends the same images again, see `Whole`.
        """
        self._land()
        self._run_key, self._next, self._attempts, self._in_parts = run_key, first, attempts, in_parts
        self._caller, self._sizes = Caller(self._service, attempts), sizes_of_calls(attempts.attempts(), first)

    def query(self, images: torch.Tensor, tag: Tag | None = None) -> Answer:
        """See `Oracle.query`."""
        check_shape(images, self.image_shape)
        check_range(images)
        pixels: FloatArray = np.ascontiguousarray(images.detach().cpu().numpy())
        answered: list[Answer] = []
        try:
            answered.extend(self._answers(pixels))  # keeps what it took before an error
            return one_answer(answered)
        except BaseException as error:
            if not isinstance(error, RestToAsk):
                self._land(keep_answers=True)
            if answered:
                with contextlib.suppress(ModelError):
                    carrying(error, one_answer(answered), self)
            raise

    def close(self) -> None:
        """End the connections; calls that are on their way are lost."""
        self._land()
        self._service.connection.close()

    def _answers(self, pixels: FloatArray) -> Iterator[Answer]:
        """The answers to the calls of a query, in order."""
        at = 0
        while at < len(pixels):
            flight = self._sent(pixels[at:])
            if self._in_parts and at and not flight.future.done():
                raise RestToAsk("the rest of the call is on its way")
            try:
                answer = flight.future.result()
            except TooLarge as error:
                self._smaller(error, len(flight.chunk.images))
                continue
            except Exception:
                del self._flights[self._next]
                raise
            del self._flights[self._next]
            at, self._next = at + len(answer), self._next + len(answer)
            yield answer

    def _sent(self, rest: FloatArray) -> _Flight:
        """The flight of the first call of `rest`; it and those after it are on their way."""
        known = self._flights.get(self._next)
        if known is not None and not known.is_about(rest[: len(known.chunk.images)]):
            self._land()
        most = 1 if self._caller.sequential else self._service.config.in_flight
        start = 0
        for _ in range(most):
            first, left = self._next + start, len(rest) - start
            if left <= 0:
                break
            if first not in self._flights:
                # a copy, since the caller may change its images while a call is repeated
                chunk = Chunk(self._run_key, first, rest[start : start + self._size(first, left)].copy())
                self._flights[first] = _Flight(chunk)
                threading.Thread(target=_fly, args=(self._caller, self._flights[first]), daemon=True).start()
            start += len(self._flights[first].chunk.images)
        return self._flights[self._next]

    def _size(self, first: int, left: int) -> int:
        """Images of the call that starts at `first`, of the `left` ones: as many as an earlier process sent there."""
        sent = self._sizes.get(first, left + 1)
        if sent <= left:
            return sent
        until = min((place - first for place in self._sizes if place > first), default=left)
        return min(self._batch, until, left)

    def _smaller(self, error: TooLarge, images: int) -> None:
        """Send fewer images a call from now on: as many as the service says, or half."""
        if images == 1:
            raise ModelError(f"{self._service.target.host} takes not even one image: {error}")
        self._land()
        said = error.most if error.most is not None and 1 <= error.most < images else images // 2
        self._batch, self._sizes = min(self._batch, said), {}

    def _land(self, keep_answers: bool = False) -> None:
        """Repeat nothing that is on its way. keep_answers: of calls that are answered, for when they come again."""
        for flight in self._flights.values():
            flight.stop.set()
        done = {first: flight for first, flight in self._flights.items() if keep_answers and flight.answered}
        self._flights = done


class Whole(Wrapper):
    """Sends a call again until all of it is answered; stands around the recorder of an oracle that answers in parts."""

    def query(self, images: torch.Tensor, tag: Tag | None = None) -> Answer:
        """See `Oracle.query`; never raises RestToAsk."""
        while True:
            try:
                return super().query(images, tag)
            except RestToAsk:
                pass

    def partly(self, answer: Answer, tag: Tag | None) -> Answer:
        return answer  # the whole call comes again


def whole(oracle: Oracle) -> Oracle:
    """`Whole` around an oracle."""
    return Whole(oracle)


class UntilToppedUp(Wrapper):
    """Raises ServiceBudgetSpent, which is no refusal, where the budget of the key at the service is spent.

    A scan would store a refusal and conclude from it, though the provider may add to the budget at any time.
    """

    def failed(self, images: torch.Tensor, tag: Tag | None, error: BaseException) -> None:
        """See `Wrapper.failed`. Raises ServiceBudgetSpent, with what the error carries."""
        if not (isinstance(error, Refused) and error.reason == "budget"):
            return
        left = f"has {error.remaining} queries left" if isinstance(error, BudgetExhausted) else f"is spent ({error})"
        spent = ServiceBudgetSpent(
            f"the budget of the API key at the service {left}, and the next call has {error.queries}; have it "
            "topped up (simkit keys top-up), and the same command goes on from what is stored"
        )
        part = carried(error, self)
        raise (spent if part is None else carrying(spent, part, self)) from None


def _fly(caller: Caller, flight: _Flight) -> None:
    try:
        flight.future.set_result(caller.answer(flight.chunk, flight.stop))
    except BaseException as error:
        flight.future.set_exception(error)
