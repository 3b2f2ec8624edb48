"""The calls of one API key, one after the other, so that noise and guards are those of a sequential run."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Lock

from oracles.wire.contract import Problem

MOST_WAITING = 64
"""Calls of one key that may wait; more are turned away, so that one key cannot take every thread of the server."""

PATIENCE = 30.0
"""Seconds that a call waits for its turn."""

LOOK_SECONDS = 0.5
"""After which a call that waits looks for what other processes have done meanwhile."""


class _Ticket:
    """A call that waits for its turn. woken: a lock that is free once the turn was passed to it."""

    def __init__(self, ready: Callable[[], bool]) -> None:
        self.ready, self.given, self.woken = ready, False, Lock()
        self.woken.acquire()


class Lane:
    """Lets one call at a time through, in the order of arrival or of their ordinals. Safe to share among threads.

    A turn that ends wakes the call whose turn is next, and no other: to wake all that wait costs processor time.
    """

    def __init__(self, patience: float = PATIENCE, most: int = MOST_WAITING) -> None:
        self._patience, self._most = patience, most
        self._lock = Lock()
        self._waiting: deque[_Ticket] = deque()
        self._busy, self._others = False, 0

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count a call that waits for something else than its turn. Raises Problem if too many calls wait."""
        with self._lock:
            self._check_room()
            self._others += 1
        try:
            yield
        finally:
            with self._lock:
                self._others -= 1

    @contextmanager
    def turn(self, ready: Callable[[], bool] = lambda: True, look: Callable[[], None] | None = None) -> Iterator[None]:
        """Hold the lane. ready: whether the turn may come now, such as after all earlier queries. look: what may make
        it ready without a call of this lane; asked now and then while the call waits for nothing else.

        Raises Problem if too many calls wait or the turn does not come in time.
        """
        self._enter(ready, look)
        try:
            yield
        finally:
            with self._lock:
                self._busy = False
                self._pass_on()

    def _enter(self, ready: Callable[[], bool], look: Callable[[], None] | None) -> None:
        ticket, until = _Ticket(ready), time.monotonic() + self._patience
        with self._lock:
            self._check_room()
            self._waiting.append(ticket)
            self._pass_on()
        try:
            while not self._has_come(ticket, until if look is None else min(until, time.monotonic() + LOOK_SECONDS)):
                if time.monotonic() >= until:
                    raise self._too_late(ready)
                if look is not None and not ready():
                    look()  # without the lock: calls that are ready go on meanwhile
        except BaseException:
            with self._lock:
                if ticket.given:  # meanwhile
                    self._busy = False
                    self._pass_on()
                else:
                    self._waiting.remove(ticket)
            raise

    def _has_come(self, ticket: _Ticket, until: float) -> bool:
        """Whether the turn came by this time (monotonic); then the lane is held."""
        if ticket.given or ticket.woken.acquire(timeout=max(0.0, until - time.monotonic())):
            return True
        with self._lock:
            self._pass_on()  # what a call waits for may have come true outside of the lane
            return ticket.given

    def _pass_on(self) -> None:
        """Give a free lane to the first waiting call that is ready."""
        if self._busy:
            return
        following = next((ticket for ticket in self._waiting if ticket.ready()), None)
        if following is not None:
            self._waiting.remove(following)
            self._busy = following.given = True
            following.woken.release()

    def _check_room(self) -> None:
        if len(self._waiting) + self._others >= self._most:
            raise Problem("unavailable", f"{self._most} calls of this key are waiting; send fewer at a time", 1.0)

    def _too_late(self, ready: Callable[[], bool]) -> Problem:
        if ready():
            return Problem("unavailable", "earlier calls of this key are still running; ask again", 1.0)
        return Problem("in_progress", "the queries before this call have not arrived; send them, or ask again", 1.0)


class Running:
    """A call that is running. Its twins, which have the same idempotency key, wait for `ended`."""

    def __init__(self, digest: bytes) -> None:
        self.digest, self.ended = digest, Event()
