"""How fast calls are sent: as the user says, and as the service states in the headers of its replies.

`RateLimit` and `RateLimit-Policy` are read in the form of draft-ietf-httpapi-ratelimit-headers-10, and of the drafts
before it: `RateLimit: limit=10, remaining=3, reset=5` and `RateLimit-Limit`, `-Remaining` and `-Reset`. A quota counts
calls, or images where its unit says so (`qu="images"`).
"""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from oracles.guard import Limiter, RateLimit, WallClock
from oracles.wire.contract import HttpReply

_MOST_BYTES, _MOST_POLICIES = 4096, 16
"""Of a header that is read, and of the quotas in it."""

_SHORTEST = 0.001
"""Seconds of the shortest wait."""

_NAME = r'"(?:[^"\\]|\\.)*"|[A-Za-z*][\w.:/*-]*'
_PARAMETER = re.compile(rf";[ ]*([a-z*][a-z0-9_.*-]*)=({_NAME}|-?\d{{1,15}}(?:\.\d{{1,3}})?)")
_ITEM = re.compile(rf"[ \t]*({_NAME})((?:;[ ]*[a-z*][a-z0-9_.*-]*(?:=(?:{_NAME}|-?[\d.]+))?)*)[ \t]*(?:,|$)")
_EARLIER = re.compile(r"\b(limit|remaining|reset)=(\d{1,15})\b", re.ASCII)
_NUMBER = re.compile(r"\d{1,15}", re.ASCII)


@dataclass(frozen=True)
class Stated:
    """A rate limit as a service states it.

    quota: units that may come in a window, infinite if that is not told. per_unit: seconds in which one unit comes
    back, where they come back one by one; None where all of them do, `reset` seconds after the reply. left: units that
    may come now. images: whether images are the unit; calls otherwise.
    """

    quota: float
    left: float
    images: bool
    per_unit: float | None
    reset: float = 0.0

    def units(self, images: int, calls: int) -> float:
        """What so many calls count that carry so many images together."""
        return images if self.images else calls

    def wait(self, images: int) -> float:
        """Seconds until a call may be sent; 0 for one that may be sent now.

        A call that exceeds the quota can wait for all of it, and no longer.
        """
        missing = min(self.units(images, 1), self.quota) - self.left
        if missing <= 0.0:
            return 0.0
        return self.reset if self.per_unit is None else missing * self.per_unit

    def after(self, passed: float) -> Stated:
        """The limit as it is when so many seconds have passed."""
        if self.per_unit is not None:
            back = passed / self.per_unit if self.per_unit else math.inf
            return replace(self, left=min(self.quota, self.left + back))
        if passed < self.reset:
            return replace(self, reset=self.reset - passed)
        return replace(self, left=self.quota, reset=0.0)

    def less(self, images: int, calls: int) -> Stated:
        """The limit after these calls."""
        return replace(self, left=self.left - self.units(images, calls))


class Pace:
    """Keeps every stated rate. Safe to share among threads. own: the user's, such as `10/second`.

    clock: seconds, monotonic.
    """

    def __init__(self, own: str | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._own, self._clock, self._lock = _limiter(own), clock, threading.Lock()
        self._stated: dict[str, Stated] = {}
        self._at, self._images, self._calls = 0.0, 0, 0

    def kept(self, images: int, stop: threading.Event, longest: float) -> bool:
        """Wait until a call of so many images may be sent, and count it as sent; False once `stop` is set.

        longest: seconds of a wait that the service states and that is still kept; after a longer one nobody asks, so
        that the call is sent at once, and the service says itself when to come again.
        """
        if not self._own_kept(images, stop):
            return False
        while wait := self._taken(images, longest):
            if stop.wait(max(wait, _SHORTEST)):
                return False
        return True

    def heard(self, images: int, reply: HttpReply | None) -> None:
        """Count a call as over. reply: what came back, if anything did; the rates that it states hold from now on."""
        stated = {} if reply is None else read(reply.headers)
        counted = reply is not None and reply.status == 200 and "idempotency-replayed" not in reply.headers
        with self._lock:
            self._pass()
            self._images, self._calls = self._images - images, self._calls - 1
            if not counted:  # as far as anybody knows here
                self._stated = {name: limit.less(-images, -1) for name, limit in self._stated.items()}
            if stated:
                self._stated = {name: self._joined(limit, self._stated.get(name)) for name, limit in stated.items()}

    def _joined(self, limit: Stated, known: Stated | None) -> Stated:
        """The limit of a reply. The service may not have known then of calls that are on their way, and replies that
        it sent later may have been heard before: what is known to be left is never raised by a reply."""
        left = limit.less(self._images, self._calls).left
        return replace(limit, left=left if known is None else min(left, known.left))

    def _taken(self, images: int, longest: float) -> float:
        """0 if the call is counted as sent, otherwise the seconds to wait."""
        with self._lock:
            self._pass()
            wait = max((limit.wait(images) for limit in self._stated.values()), default=0.0)
            if 0.0 < wait <= longest:
                return wait
            self._stated = {name: limit.less(images, 1) for name, limit in self._stated.items()}
            self._images, self._calls = self._images + images, self._calls + 1
            return 0.0

    def _pass(self) -> None:
        """Let the time since the last look pass for every limit."""
        passed, self._at = self._clock() - self._at, self._clock()
        self._stated = {name: limit.after(passed) for name, limit in self._stated.items()}

    def _own_kept(self, images: int, stop: threading.Event) -> bool:
        limiter = self._own
        left = 0 if limiter is None else limiter.units(images)
        while limiter is not None and left:
            some = min(left, limiter.limit.burst)
            with self._lock:
                wait = limiter.wait(some)
            if wait == 0.0:
                left -= some
            elif stop.wait(wait):
                return False
        return True


def read(headers: Mapping[str, str]) -> dict[str, Stated]:
    """The rate limits in the headers of a reply by their names; what cannot be read is left out.

    headers: with names in lower case.
    """
    now, policy = headers.get("ratelimit", "")[:_MOST_BYTES], headers.get("ratelimit-policy", "")[:_MOST_BYTES]
    numbers = dict(_EARLIER.findall(now))
    for name in ("limit", "remaining", "reset"):
        if number := _NUMBER.match(headers.get(f"ratelimit-{name}", "")[:_MOST_BYTES]):
            numbers.setdefault(name, number[0])
    if "remaining" in numbers and "reset" in numbers:
        quota = float(numbers.get("limit", "inf"))
        return {"": Stated(quota or math.inf, float(numbers["remaining"]), False, None, float(numbers["reset"]))}
    policies, gradual = _items(policy), "simkit-charged" in headers
    found = {name: _stated(policies.get(name, {}), state, gradual) for name, state in _items(now).items()}
    return {name: limit for name, limit in found.items() if limit is not None}


def _stated(policy: Mapping[str, str], state: Mapping[str, str], gradual: bool) -> Stated | None:
    """One limit. gradual: whether the service is simkit's, whose units come back one by one."""
    numbers = {name: _positive(policy.get(name)) for name in ("q", "w", "limit", "seconds")}
    left, reset = _positive(state.get("r")), _positive(state.get("t"))
    quota, images = numbers["q"] or math.inf, policy.get("qu") == '"images"'
    if left is None:
        return None
    if (gradual or reset is None) and numbers["q"] and numbers["w"]:
        exact = numbers["seconds"] / numbers["limit"] if numbers["seconds"] and numbers["limit"] else None
        return Stated(quota, left, images, numbers["w"] / quota if exact is None else exact)
    return None if reset is None else Stated(quota, left, images, None, reset)


def _items(text: str) -> dict[str, dict[str, str]]:
    """The members of a list in a structured field, with their parameters; those before the first mistake."""
    found: dict[str, dict[str, str]] = {}
    at = 0
    while at < len(text) and len(found) < _MOST_POLICIES and (item := _ITEM.match(text, at)):
        found[item[1].strip('"')] = dict(_PARAMETER.findall(item[2]))
        at = item.end()
    return found


def _positive(text: str | None) -> float | None:
    """A number of 0 or more, None for anything else."""
    try:
        number = float(text or "x")
    except ValueError:
        return None
    return number if 0.0 <= number < math.inf else None


def _limiter(pace: str | None) -> Limiter | None:
    """At most the pace in any second or so: a burst of one second's worth."""
    if pace is None:
        return None
    limit = RateLimit.parse(pace)
    return Limiter(replace(limit, burst=max(1, limit.limit // limit.seconds)), WallClock())
