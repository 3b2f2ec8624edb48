"""The calls of one API key, one after the other, so that noise and guards are those of a sequential run."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition, Event

from oracles.wire.contract import Problem

MOST_WAITING = 64
"""Calls of one key that may wait; more are turned away, so that one key cannot take every thread of the server."""

PATIENCE = 30.0
"""Seconds that a call waits for its turn."""

LOOK_SECONDS = 0.5
"""After which a call that waits looks for what other processes have done meanwhile."""


class Lane:
    """Lets one call at a time through, in the order of arrival or of their ordinals. Safe to share among threads."""

    def __init__(self, patience: float = PATIENCE, most: int = MOST_WAITING) -> None:
        self._patience, self._most = patience, most
        self._changed = Condition()
        self._waiting: deque[object] = deque()
        self._ready: dict[object, Callable[[], bool]] = {}
        self._busy, self._others = False, 0

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count a call that waits for something else than its turn. Raises Problem if too many calls wait."""
        with self._changed:
            self._check_room()
            self._others += 1
        try:
            yield
        finally:
            with self._changed:
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
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _enter(self, ready: Callable[[], bool], look: Callable[[], None] | None) -> None:
        ticket, until = object(), time.monotonic() + self._patience
        with self._changed:
            self._check_room()
            self._waiting.append(ticket)
            self._ready[ticket] = ready
        try:
            while not self._has_come(ticket, until if look is None else min(until, time.monotonic() + LOOK_SECONDS)):
                if time.monotonic() >= until:
                    raise self._too_late(ready)
                if look is not None and not ready():
                    look()  # without the lock: calls that are ready go on meanwhile
        finally:
            with self._changed:
                self._waiting.remove(ticket)
                del self._ready[ticket]

    def _has_come(self, ticket: object, until: float) -> bool:
        """Whether the turn came by this time (monotonic); then the lane is held."""
        with self._changed:
            come = self._changed.wait_for(lambda: self._is_next(ticket), until - time.monotonic())
            self._busy = self._busy or come
            return come

    def _check_room(self) -> None:
        if len(self._waiting) + self._others >= self._most:
            raise Problem("unavailable", f"{self._most} calls of this key are waiting; send fewer at a time", 1.0)

    def _is_next(self, ticket: object) -> bool:
        if self._busy:
            return False
        return next((other for other in self._waiting if self._ready[other]()), None) is ticket

    def _too_late(self, ready: Callable[[], bool]) -> Problem:
        if ready():
            return Problem("unavailable", "earlier calls of this key are still running; ask again", 1.0)
        return Problem("in_progress", "the queries before this call have not arrived; send them, or ask again", 1.0)


class Running:
    """A call that is running. Its twins, which have the same idempotency key, wait for `ended`."""

    def __init__(self, digest: bytes) -> None:
        self.digest, self.ended = digest, Event()
