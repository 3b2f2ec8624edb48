"""The defences of a provider against probing: rate limits and near-duplicate blocking, with a clock for both sides.

All times are simulated seconds, so that a run is a pure function of its answers: a resumed run waits and is refused
exactly where the uninterrupted run was. With `real_time` the same seconds are also slept.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pyrate_limiter import GCRA, AbstractClock, Rate, RateItem, StateBucket

from oracles.answers import Answer
from oracles.errors import InvalidSpec, RateExceeded, Refused
from oracles.oracle import Oracle, Tag, Wrapper, check_shape

if TYPE_CHECKING:
    import torch

_INTERVALS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_RATE = re.compile(rf"([1-9]\d{{0,8}})(?: (images|calls))?/({'|'.join(_INTERVALS)})")

FINGERPRINT = 64
"""Length of an image's fingerprint. Our own choice: distances then have a relative error of 9 % (one standard
deviation)."""

SHARE, WINDOW = 0.5, 1000
"""Defaults of the near-duplicate block. Our own choice: no provider publishes its values."""

_BLOCK = 256
"""Number of images compared with the window at a time."""


class ServiceClock(AbstractClock):
    """Simulated time, which is 0 at the first call of a run and moves only by `advance`.

    real: every second that passes is also slept; Ctrl-C ends the sleep.
    """

    def __init__(self, real: bool = False) -> None:
        self._micros, self._real = 0, real
        self._past: Callable[[], bool] = lambda: False

    def now(self) -> int:
        """The time in whole milliseconds, as pyrate_limiter needs it."""
        return self._micros // 1000

    @property
    def seconds(self) -> float:
        return self._micros / 1e6

    def advance(self, seconds: float) -> None:
        """Let `seconds`, 0 or more, pass."""
        self._micros += round(seconds * 1e6)
        if self._real and seconds > 0.0 and not self._past():
            time.sleep(seconds)

    def skip(self, past: Callable[[], bool]) -> None:
        """Do not sleep while `past()` is true: what an earlier process waited is not waited again."""
        self._past = past


class WallClock(AbstractClock):
    """Time as it passes: Unix time when it was made, and monotonic from there. `advance` sleeps."""

    def __init__(self) -> None:
        self._start = time.time() - time.monotonic()

    def now(self) -> int:
        """Whole milliseconds."""
        return int((self._start + time.monotonic()) * 1000)

    def advance(self, seconds: float) -> None:
        time.sleep(seconds)


Clock: TypeAlias = ServiceClock | WallClock


@dataclass(frozen=True)
class RateLimit:
    """At most `limit` images (or calls) in `seconds`, and at most `burst` of them at once."""

    limit: int
    seconds: int
    burst: int
    calls: bool = False

    @classmethod
    def parse(cls, text: str, burst: int | None = None) -> RateLimit:
        """Read `10/second`, `1800 images/minute` or `15 calls/second`; a burst of None is the limit. Raises
        InvalidSpec."""
        match = _RATE.fullmatch(text)
        if match is None:
            raise InvalidSpec("not a rate limit; give 10/second, 1800/minute, or 15 calls/second")
        limit = int(match[1])
        return cls(limit, _INTERVALS[match[3]], limit if burst is None else burst, match[2] == "calls")


@dataclass(frozen=True, eq=False)
class Earlier:
    """What earlier processes of a provider did for one caller, which its guards must not forget.

    queries: number of queries answered, after which the noise continues. seen: their fingerprints, float32 (N,
    FINGERPRINT), in order, as many as the near-duplicate block remembers. taken: the time in ms of the clock and the
    number of images of each call that passed the rate limit.
    """

    queries: int = 0
    seen: NDArray[np.float32] | None = None
    taken: Sequence[tuple[int, int]] = ()


class Limiter:
    """Counts against a rate limit by the generic cell rate algorithm: at most rate * t + burst in a time t.

    taken: the time in ms and the images of earlier calls. Raises InvalidSpec on a limit that is not positive.
    """

    def __init__(self, limit: RateLimit, clock: Clock, taken: Sequence[tuple[int, int]] = ()) -> None:
        if min(limit.limit, limit.seconds, limit.burst) < 1:
            raise InvalidSpec(f"{limit}; give 1 or more of each")
        self.limit, self._clock = limit, clock
        rate = Rate(limit.limit, limit.seconds * 1000, burst=limit.burst)
        self._bucket = StateBucket([rate], GCRA(), clock=clock)
        for at, images in taken:
            self._owe(min(at, clock.now()), images)

    def units(self, images: int) -> int:
        """What a call of so many images counts."""
        return 1 if self.limit.calls else images

    @property
    def left(self) -> int:
        """What may come now."""
        owed = self._bucket.count()
        assert isinstance(owed, int)  # an awaitable only for asynchronous buckets
        return max(0, self.limit.burst - owed)

    def wait(self, units: int) -> float:
        """Take `units`, at most the burst, and return 0, or take none and return the seconds until they are there."""
        return self._wait(units, self._clock.now()) / 1000

    def _wait(self, units: int, now: int) -> int:
        item = RateItem("", now, units)
        if self._bucket.put(item):
            return 0
        wait = self._bucket.waiting(item)
        assert isinstance(wait, int)
        return wait

    def _owe(self, at: int, images: int) -> None:
        left = self.units(images)
        while left:
            some = min(left, self.limit.burst)
            while wait := self._wait(some, at):  # its row is later than the call passed, so it never counts for less
                at += wait
            left -= some


class RateLimited(Wrapper):
    """Limits the rate of images (or calls), see `Limiter`.

    A call is not split: one that is larger than the burst waits until its last image may pass. refuse: raise
    RateExceeded where a call would have to wait before its first image, instead of waiting. taken: see `Earlier`.
    """

    def __init__(
        self,
        inner: Oracle,
        limit: RateLimit,
        clock: Clock,
        refuse: bool = False,
        taken: Sequence[tuple[int, int]] = (),
    ) -> None:
        super().__init__(inner)
        self.limiter, self._clock, self._refuse = Limiter(limit, clock, taken), clock, refuse

    def before(self, images: torch.Tensor, tag: Tag | None) -> torch.Tensor:
        check_shape(images, self.image_shape)
        left, refuse = self.limiter.units(len(images)), self._refuse
        while left:
            some = min(left, self.limiter.limit.burst)
            while wait := self.limiter.wait(some):
                if refuse:
                    raise RateExceeded(len(images), wait)
                self._clock.advance(wait)
            left, refuse = left - some, False
        return images


class NearDuplicateBlock(Wrapper):
    """Refuses a call if more than a share of its images are near-duplicates of recent images.

    This follows the idea of stateful detection (Chen, Carlini, Wagner 2019, arXiv:1907.05587): keep a history of the
    queries and check whether new ones resemble it. The fingerprint is our own and simpler: a fixed random projection,
    which keeps the root mean square difference of two images, per pixel and in [0, 1].

    distance: two images closer than this are near-duplicates. share: the share of a call, in [0, 1), above which it is
    refused. window: number of remembered images, including earlier ones of the same call; refused images are not
    remembered. seen: see `Earlier`. Raises InvalidSpec.
    """

    def __init__(
        self,
        inner: Oracle,
        distance: float,
        share: float = SHARE,
        window: int = WINDOW,
        seen: NDArray[np.float32] | None = None,
    ) -> None:
        if not (0.0 < distance < math.inf and 0.0 <= share < 1.0 and window >= 1):
            raise InvalidSpec(
                f"near_duplicate is {distance}, its share {share}, its window {window}; give a distance above 0, a "
                "share in [0, 1), and 1 image or more"
            )
        super().__init__(inner)
        self._distance, self._share, self._window = distance, share, window
        self._seen: NDArray[np.float64] = np.empty((0, FINGERPRINT))
        if seen is not None:
            self._seen = seen[-window:].astype(np.float64)
        self._now = self._seen

    def before(self, images: torch.Tensor, tag: Tag | None) -> torch.Tensor:
        check_shape(images, self.image_shape)
        self._now = fingerprints(images).astype(np.float64)
        near = near_duplicates(self._now, self._seen, self._distance, self._window)
        if near > self._share * len(images):
            raise Refused(len(images), "near_duplicate")
        return images

    def after(self, answer: Answer, tag: Tag | None) -> Answer:
        self._seen = np.concatenate([self._seen, self._now])[-self._window :]
        return answer

    def partly(self, answer: Answer, tag: Tag | None) -> Answer:
        return answer  # the whole call comes again, and must not resemble itself


def near_duplicates(now: NDArray[np.float64], seen: NDArray[np.float64], distance: float, window: int) -> int:
    """The number of rows of `now` (N, D) within `distance` of one of the `window` rows before it in `seen` and
    `now`."""
    rows = np.concatenate([seen, now])
    squares = (rows**2).sum(axis=1)
    near = 0
    for start in range(len(seen), len(rows), _BLOCK):
        stop = min(start + _BLOCK, len(rows))
        low = max(0, start - window)
        apart = squares[start:stop, None] + squares[None, low:stop] - 2.0 * rows[start:stop] @ rows[low:stop].T
        behind = np.arange(start, stop)[:, None] - np.arange(low, stop)[None]
        near += int(((apart <= distance**2) & (behind >= 1) & (behind <= window)).any(axis=1).sum())
    return near


def fingerprints(images: torch.Tensor) -> NDArray[np.float32]:
    """The fingerprints of images (N, C, H, W), float32 (N, FINGERPRINT)."""
    flat = images.detach().cpu().flatten(1)
    prints: NDArray[np.float32] = (flat @ _projection(flat.shape[1])).numpy()
    return prints


@lru_cache(maxsize=8)
def _projection(pixels: int) -> torch.Tensor:
    """A fixed Gaussian float32 matrix (pixels, FINGERPRINT), scaled so that lengths are root mean squares."""
    import torch  # slow to import; a caller has it by now

    draw = np.random.Generator(np.random.Philox(key=pixels)).standard_normal((pixels, FINGERPRINT), dtype=np.float32)
    return torch.from_numpy(draw / np.float32(math.sqrt(FINGERPRINT * pixels)))


class Patient(Wrapper):
    """The caller's side of the clock: it waits for each answer, and repeats a call that exceeded the rate limit.

    It stands outside `Recorded`, so that each refusal is recorded. seconds_per_call, seconds_per_query: the time that
    an answer takes; a refusal takes no time but the wait that it asks for.
    """

    def __init__(
        self, inner: Oracle, clock: ServiceClock, seconds_per_call: float = 0.0, seconds_per_query: float = 0.0
    ) -> None:
        super().__init__(inner)
        self._clock, self._seconds = clock, (seconds_per_call, seconds_per_query)

    def query(self, images: torch.Tensor, tag: Tag | None = None) -> Answer:
        """See `Oracle.query`; never raises RateExceeded."""
        while True:
            try:
                return super().query(images, tag)
            except RateExceeded as error:
                self._clock.advance(error.retry_after)

    def after(self, answer: Answer, tag: Tag | None) -> Answer:
        self._clock.advance(self._seconds[0] + self._seconds[1] * len(answer))
        return answer

    def partly(self, answer: Answer, tag: Tag | None) -> Answer:
        return answer  # its time passes when the whole call has been answered
