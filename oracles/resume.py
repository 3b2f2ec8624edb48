"""Resuming an interrupted run: what earlier processes asked, and a recorder that does not record it twice."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from oracles.errors import ReplayMismatch
from oracles.meter import AlarmRecord, CallRecord, Recorder
from oracles.replay import Refusals, Replayed, StoredCall


class StoredRefusal(Protocol):
    """One refused call of a step, as it is stored in a ledger."""

    @property
    def step(self) -> int: ...

    @property
    def queries(self) -> int: ...

    @property
    def reason(self) -> str: ...


class StoredAlarm(Protocol):
    """One alarm, as it is stored in a ledger; see `AlarmRecord`."""

    @property
    def detector(self) -> str: ...

    @property
    def first(self) -> int: ...


@dataclass(frozen=True, eq=False)
class Past:
    """What earlier processes asked in a run: the number of answered queries, the calls, refusals and alarms in
    order."""

    queries: int
    calls: Iterable[StoredCall]
    refusals: Sequence[StoredRefusal] = ()
    alarms: Sequence[StoredAlarm] = ()

    @property
    def refused(self) -> Refusals:
        """The reason of each refusal by the id of its step, without refusals by the rate limit, which are repeated."""
        return {refusal.step: refusal.reason for refusal in self.refusals if refusal.reason != "rate"}


class Remembered:
    """A recorder for a run that goes on: it passes on only what is not stored yet: calls, parts of calls, refusals and
    alarms.

    Raises ReplayMismatch when a stored refusal or alarm does not occur again in the same way.
    """

    def __init__(self, recorder: Recorder, replayed: Replayed, past: Past) -> None:
        self._recorder, self._replayed = recorder, replayed
        self._refusals, self._alarms = deque(past.refusals), deque(past.alarms)

    def open_step(self, number: int, purpose: str, state: str) -> int:
        """See `Recorder.open_step`."""
        return self._recorder.open_step(number, purpose, state)

    def check_step(self, step: int | None) -> None:
        """See `Recorder.check_step`."""
        if step is not None and self._refusals and self._refusals[0].step < step:
            raise _others("refusals")
        self._recorder.check_step(step)

    def record(self, call: CallRecord) -> None:
        """See `Recorder.record`."""
        if self._replayed.known < len(call.rows):
            self._recorder.record(call.after(self._replayed.known))

    def refuse(self, step: int | None, queries: int, reason: str) -> None:
        """See `Recorder.refuse`."""
        if not self._refusals:
            self._recorder.refuse(step, queries, reason)
            return
        stored = self._refusals.popleft()
        if (stored.step, stored.queries, stored.reason) != (step, queries, reason):
            raise _others("refusals")

    def alarm(self, *alarms: AlarmRecord) -> None:
        """See `Recorder.alarm`."""
        known = [self._alarms.popleft() for _ in alarms[: len(self._alarms)]]
        if any((s.detector, s.first) != (a.detector, a.first) for s, a in zip(known, alarms, strict=False)):
            raise _others("alarms")
        if more := alarms[len(known) :]:
            self._recorder.alarm(*more)


def _others(what: str) -> ReplayMismatch:
    return ReplayMismatch(
        f"the ledger holds other {what}; it was written with other code or data: scan into a fresh --db"
    )
