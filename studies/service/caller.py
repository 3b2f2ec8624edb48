"""All calls of one API key: its lane, its budget, its rate, and what its retries get."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from threading import Lock

import numpy as np
import torch

from db.book import Book, BookRun
from db.errors import StorageError
from db.service_reads import Caller
from db.service_records import StoredDelivery
from oracles.answers import Answer, decode
from oracles.budget import Budget
from oracles.errors import BudgetExhausted, InvalidImages, InvalidSpec, RateExceeded, Refused
from oracles.guard import Limiter, RateLimit, WallClock
from oracles.meter import CallRecord
from oracles.spec import OracleSpec
from oracles.wire.contract import Kind, Problem, Question
from studies.service.deliveries import Delivery, Outcome, RateState, state_of
from studies.service.keys import Key, check_valid
from studies.service.lanes import LOOK_SECONDS, PATIENCE, Lane, Running
from studies.service.session import Request, Room, ServedModel, Session, in_ms, restricted, window


class KeyCalls:
    """The calls of one key. Safe to share among threads.

    A call is answered in its turn only. Rate, budget and state of the key are read anew at each call, so that changes
    of the file of keys count from the next call on.
    """

    def __init__(self, book: Book, earlier: Caller, clock: WallClock, room: Room) -> None:
        self._book, self._clock, self._room = book, clock, room
        self._budget = Budget(None, spent=earlier.spent, name="key")
        self._banned = earlier.banned
        self._sessions: dict[str, tuple[OracleSpec, Session]] = {}
        self._limiter: tuple[str, Limiter] | None = None
        self._running: dict[tuple[str, str], Running] = {}
        self._lane, self._lock = Lane(), Lock()
        self._looks, self._looked = Lock(), 0.0

    def call(self, key: Key, served: ServedModel, question: Question, delivery: Delivery) -> Outcome:
        """See `Gate.call`."""
        session, queries = self._session(key, served), len(question.images)
        try:
            self._check_key(key)
            with self._twins_joined(session.run, served.name, delivery):
                if replay := self._replay(key, session.run, delivery):
                    return replay
                self._check_size(key, session, queries)
                return self._answered(key, served, session, question, delivery)
        except _Told as told:  # recorded by the stack
            raise told.problem from told.__cause__
        except Problem as problem:
            self._note(session.run, queries, problem.kind)
            raise

    def check(self, key: Key, retry: bool) -> None:
        """See `Gate.check`."""
        self._check_key(key)
        if not retry and key.cap is not None and self._budget.spent >= key.cap:
            raise Problem("budget", "the key budget has 0 queries left", remaining=0)

    def refused(self, key: Key, served: ServedModel, reason: Kind) -> None:
        """See `Gate.refused`."""
        self._note(self._session(key, served).run, 1, reason)

    def remaining(self, key: Key) -> int | None:
        """Queries left in the key's budget, None without one."""
        self._budget.change_cap(key.cap)
        return self._budget.remaining

    def rates(self, key: Key, served: ServedModel) -> tuple[RateState, ...]:
        """See `Gate.rates`."""
        session = self._session(key, served)
        limiters = [(served.name, session.limiter.limiter)] if session.limiter else []
        if limiter := self._key_limiter(key):
            limiters.append(("key", limiter))
        return tuple(sorted((state_of(*named) for named in limiters), key=lambda state: state.left / state.quota))

    def seen_rates(self) -> tuple[RateState, ...]:
        """See `Gate.seen_rates`."""
        with self._lock:
            limiters = [("key", self._limiter[1])] if self._limiter else []
            sessions = [(name, self._sessions[name][1].limiter) for name in sorted(self._sessions)]
        limiters += [(name, limited.limiter) for name, limited in sessions if limited is not None]
        return tuple(state_of(*named) for named in limiters)

    def _session(self, key: Key, served: ServedModel) -> Session:
        """The stack under the present restrictions; others begin another run, on the same budget."""
        try:
            with self._lock:
                further, session = self._sessions.get(served.name, (None, None))
                if session is None or further != key.oracle:
                    spec = restricted(served.spec, key.oracle)
                    session = Session(self._book, key.id, served, spec, self._budget)
                    session.build(self._clock, self._room)
                    self._sessions[served.name] = key.oracle, session
                return session
        except (InvalidSpec, StorageError) as error:
            raise Problem("unavailable", "the service cannot answer for now; ask again", 5.0) from error

    def _check_key(self, key: Key) -> None:
        check_valid(key)
        if key.is_banned(self._banned):
            raise Problem("banned", "the provider has blocked this key; ask the provider")

    def _check_size(self, key: Key, session: Session, queries: int) -> None:
        """A call that no rate lets through at once would wait for ever."""
        limiters = [session.limiter.limiter if session.limiter else None, self._key_limiter(key)]
        for limiter in limiters:
            if limiter is not None and limiter.units(queries) > limiter.limit.burst:
                most = limiter.limit.burst
                raise Problem("too_large", f"{queries} images exceed the rate limit's burst; send {most} or fewer")

    def _take_rate(self, key: Key, session: Session, queries: int) -> None:
        """Count the call against the key's rate, unless the model's, which the stack counts, refuses it anyway."""
        model = session.limiter.limiter if session.limiter else None
        if model is not None and model.left < model.units(queries) and (wait := model.wait(model.units(queries))):
            raise _of_refusal(RateExceeded(queries, wait))
        limiter = self._key_limiter(key)
        if limiter is not None and (wait := limiter.wait(limiter.units(queries))):
            raise Problem("rate", f"too many queries for now; ask again in {wait:g} s", wait)

    def _key_limiter(self, key: Key) -> Limiter | None:
        with self._lock:
            if key.rate is None:
                self._limiter = None
            elif self._limiter is None or self._limiter[0] != key.rate:
                limit = RateLimit.parse(key.rate)
                try:
                    rows = self._book.recent(key.id, time.time() - window(limit))
                except StorageError as error:
                    raise _not_now() from error
                self._limiter = key.rate, Limiter(limit, self._clock, in_ms(rows))
            return None if self._limiter is None else self._limiter[1]

    @contextmanager
    def _twins_joined(self, run: BookRun, model: str, delivery: Delivery) -> Iterator[None]:
        """Wait while a call with the same idempotency key runs, and let others wait for this one."""
        if delivery.idempotency is None:
            yield
            return
        place, until = (model, delivery.idempotency), time.monotonic() + PATIENCE
        while True:
            with self._lock:
                twin = self._running.get(place)
                if twin is None:
                    mine = self._running[place] = Running(delivery.digest)
                    break
            if twin.digest != delivery.digest:
                raise _reused()
            with self._lane.counted():
                ended = twin.ended.wait(until - time.monotonic())
            if not ended:
                raise Problem("in_progress", "the first call with this idempotency key still runs; ask again", 1.0)
        try:
            yield
        finally:
            with self._lock:
                del self._running[place]
            mine.ended.set()

    def _replay(self, key: Key, run: BookRun, delivery: Delivery) -> Outcome | None:
        stored = _stored(run, delivery)
        if stored is None:
            return None
        if stored.digest != delivery.digest.hex():
            raise _reused()
        answer = decode(stored.call.codec, stored.call.answers)
        return Outcome(answer, 0, True, self.remaining(key), stored.call.codec, stored.call.answers, stored.call.first)

    def _answered(
        self, key: Key, served: ServedModel, session: Session, question: Question, delivery: Delivery
    ) -> Outcome:
        first, run, queries = delivery.first, session.run, len(question.images)
        self._look_ahead(run, first)
        look = partial(self._look, run) if self._book.shared and first is not None else None
        with self._lane.turn(lambda: first is None or first <= run.queries, look):
            session = self._followed(key, served, session)
            if self._book.shared and (replay := self._replay(key, run, delivery)):
                return replay  # another replica has answered this very call meanwhile
            if first is not None and first < run.queries:
                raise Problem("bad_request", f"query {first} was answered before; the next one is {run.queries}")
            key = key if delivery.key_now is None else delivery.key_now()
            self._check_key(key)  # a call before it may have led to a ban
            self._take_rate(key, session, queries)
            self._budget.change_cap(key.cap)
            images = np.require(question.images, np.float32, ("C", "W"))  # torch warns of arrays that are read-only
            request = Request(torch.from_numpy(images), delivery.idempotency, delivery.digest)
            try:
                answer, record = self._asked(session, request)
            finally:
                if session.take_ban():
                    self._banned = time.time()
            place = run.queries - queries
            return Outcome(answer, queries, False, self._budget.remaining, record.codec, record.answers, place)

    def _followed(self, key: Key, served: ServedModel, session: Session) -> Session:
        """The session after what other replicas have charged and answered; the turn must be this call's."""
        if self._book.shared:
            try:
                known = self._book.caller(key.id)
                session.run.look()
            except StorageError as error:
                raise _not_now() from error
            self._budget.change_spent(known.spent)
            self._banned = known.banned
        if session.current:
            return session
        with self._lock:  # guards and noise go on where the rows end, as after a restart
            self._sessions.pop(served.name, None)
            self._limiter = None
        return self._session(key, served)

    def _look_ahead(self, run: BookRun, first: int | None) -> None:
        """A caller whose earlier queries another replica has answered must not wait for them here."""
        if self._book.shared and first is not None and first > run.queries:
            try:
                run.look()
            except StorageError as error:
                raise _not_now() from error

    def _look(self, run: BookRun) -> None:
        """Count what other replicas have answered while calls wait; once in a while for all of them.

        A database that cannot be asked for now is asked again, as long as the calls have patience.
        """
        with self._looks:
            if time.monotonic() - self._looked >= LOOK_SECONDS / 2:
                with suppress(StorageError):
                    run.look()
                self._looked = time.monotonic()

    def _asked(self, session: Session, request: Request) -> tuple[Answer, CallRecord]:
        try:
            return session.answer(request)
        except Refused as error:
            raise _Told(_of_refusal(error)) from error
        except InvalidImages as error:
            raise Problem("invalid_images", str(error)) from error
        except StorageError as error:
            raise Problem("unavailable", "the answer could not be stored; ask again", 1.0) from error
        except Problem:
            raise
        except Exception as error:  # a model is code of others and may raise anything
            raise Problem("failed", "the model failed; nothing was charged") from error

    def _note(self, run: BookRun, queries: int, reason: Kind) -> None:
        """Record a refusal, and with it what is not committed yet. Raises Problem for a ban that cannot be stored."""
        try:
            run.tally(queries, reason)
        except StorageError as error:  # the caller gets the same reply; a full disk is told at the next answer
            if reason == "banned":
                raise _not_now() from error


class _Told(Exception):
    """A refusal by the stack, which has recorded it."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def _stored(run: BookRun, delivery: Delivery) -> StoredDelivery | None:
    if delivery.idempotency is None:
        return None
    try:
        return run.delivery(delivery.idempotency)
    except StorageError as error:
        raise _not_now() from error


def _not_now() -> Problem:
    return Problem("unavailable", "the service cannot answer for now; ask again", 1.0)


def _reused() -> Problem:
    return Problem("key_reused", "this idempotency key came with another request before; use a new one for each")


def _of_refusal(error: Refused) -> Problem:
    if isinstance(error, RateExceeded):
        return Problem("rate", str(error), error.retry_after)
    if isinstance(error, BudgetExhausted):
        return Problem("budget", str(error), remaining=error.remaining)
    kinds: dict[str, Kind] = {"near_duplicate": "near_duplicate", "banned": "banned"}
    return Problem(kinds.get(error.reason, "unavailable"), str(error))
