"""What a provider does to a prober: rate limits and near-duplicate blocking, and the time that both sides keep.

All times are simulated seconds, so that a run is a pure function of its answers: a resumed one waits, and is refused,
where the unbroken one was. In real time the same seconds are slept as well.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
"""Numbers kept of an image. Own constant: distances between fingerprints are off by 9 % (one standard deviation)."""

SHARE, WINDOW = 0.5, 1000
"""Of the near-duplicate block, where nothing else is said. Own constants: no provider tells its own."""

_BLOCK = 256
"""Images compared with the window at a time."""


class ServiceClock(AbstractClock):
    """Simulated time, from 0 at the first call of a run; it moves when it is told to, and never back.

    real: every second that goes by is slept too; Ctrl-C ends the sleep.
    """

    def __init__(self, real: bool = False) -> None:
        self._micros, self._real = 0, real
        self._past: Callable[[], bool] = lambda: False

    def now(self) -> int:
        """Whole milliseconds, as the limiter wants them."""
        return self._micros // 1000

    @property
    def seconds(self) -> float:
        return self._micros / 1e6

    def advance(self, seconds: float) -> None:
        """Let 0 or more seconds go by."""
        self._micros += round(seconds * 1e6)
        if self._real and seconds > 0.0 and not self._past():
            time.sleep(seconds)

    def skip(self, past: Callable[[], bool]) -> None:
        """Sleep nothing while `past()`: what an earlier process waited is not waited again."""
        self._past = past


@dataclass(frozen=True)
class RateLimit:
    """So many images (or calls) in so many seconds, at most `burst` of them at once."""

    limit: int
    seconds: int
    burst: int
    calls: bool = False

    @classmethod
    def parse(cls, text: str, burst: int | None = None) -> RateLimit:
        """`10/second`, `1800 images/minute`, `15 calls/second`; burst None: the limit. Raises InvalidSpec."""
        found = _RATE.fullmatch(text)
        if found is None:
            raise InvalidSpec("no rate limit; give 10/second, 1800/minute, or 15 calls/second")
        limit = int(found[1])
        return cls(limit, _INTERVALS[found[3]], limit if burst is None else burst, found[2] == "calls")


class RateLimited(Wrapper):
    """Lets images (or calls) through at a rate: the generic cell rate algorithm, never more than rate * t + burst.

    A call is not torn apart: one larger than the burst takes as long as its last image waits. refuse: raise
    RateExceeded where a call would have to wait before its first images, instead of letting it wait. Raises InvalidSpec
    on a limit that is not positive.
    """

    def __init__(self, inner: Oracle, limit: RateLimit, clock: ServiceClock, refuse: bool = False) -> None:
        if min(limit.limit, limit.seconds, limit.burst) < 1:
            raise InvalidSpec(f"{limit}; give 1 or more of each")
        super().__init__(inner)
        self._limit, self._clock, self._refuse = limit, clock, refuse
        rate = Rate(limit.limit, limit.seconds * 1000, burst=limit.burst)
        self._bucket = StateBucket([rate], GCRA(), clock=clock)

    def before(self, images: torch.Tensor, tag: Tag | None) -> torch.Tensor:
        check_shape(images, self.image_shape)
        left, refuse = 1 if self._limit.calls else len(images), self._refuse
        while left:
            some = min(left, self._limit.burst)
            while wait := self._wait(some):
                if refuse:
                    raise RateExceeded(len(images), wait)
                self._clock.advance(wait)
            left, refuse = left - some, False
        return images

    def _wait(self, units: int) -> float:
        """Take `units` and return 0, or take none and return the seconds after which they can be had."""
        item = RateItem("", self._clock.now(), units)
        if self._bucket.put(item):
            return 0.0
        wait = self._bucket.waiting(item)
        assert isinstance(wait, int)  # no store that has to be awaited
        return wait / 1000


class NearDuplicateBlock(Wrapper):
    """Refuses a call in which more than a share of the images is near one of the last ones.

    After the idea of stateful detection (Chen, Carlini, Wagner 2019, arXiv:1907.05587): keep a history of the queries,
    and look whether a new one is like them. The fingerprint is our own and plainer: a fixed random projection, whose
    distances are those of the images as root mean square difference a pixel, in [0, 1].

    distance: below which two images are near-duplicates. share: of a call that may be, in [0, 1). window: images that
    are remembered; those of the same call count, what was refused is not remembered. Raises InvalidSpec.
    """

    def __init__(self, inner: Oracle, distance: float, share: float = SHARE, window: int = WINDOW) -> None:
        if not (0.0 < distance < math.inf and 0.0 <= share < 1.0 and window >= 1):
            raise InvalidSpec(
                f"near_duplicate is {distance}, its share {share}, its window {window}; give a distance above 0, a "
                "share in [0, 1), and 1 image or more"
            )
        super().__init__(inner)
        self._distance, self._share, self._window = distance, share, window
        self._projection = _projection(math.prod(inner.image_shape))
        self._seen: NDArray[np.float64] = np.empty((0, FINGERPRINT))
        self._now = self._seen

    def before(self, images: torch.Tensor, tag: Tag | None) -> torch.Tensor:
        check_shape(images, self.image_shape)
        self._now = (images.detach().cpu().flatten(1) @ self._projection).numpy().astype(np.float64)
        near = near_duplicates(self._now, self._seen, self._distance, self._window)
        if near > self._share * len(images):
            raise Refused(len(images), "near_duplicate")
        return images

    def after(self, answer: Answer, tag: Tag | None) -> Answer:
        self._seen = np.concatenate([self._seen, self._now])[-self._window :]
        return answer


def near_duplicates(now: NDArray[np.float64], seen: NDArray[np.float64], distance: float, window: int) -> int:
    """How many rows of `now` (N, D) are within `distance` of one of the `window` rows before it, of `seen` or `now`."""
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


def _projection(pixels: int) -> torch.Tensor:
    """Gaussian, float32 (pixels, FINGERPRINT), scaled so that lengths are root mean squares; the same every time."""
    import torch  # slow to import; a caller has it by now

    draw = np.random.Generator(np.random.Philox(key=pixels)).standard_normal((pixels, FINGERPRINT), dtype=np.float32)
    return torch.from_numpy(draw / np.float32(math.sqrt(FINGERPRINT * pixels)))


class Patient(Wrapper):
    """The caller's side of the clock: it waits for each answer, and comes again when it is told to come later.

    Stands outside of the records, so that each refusal is in them. seconds_per_call, seconds_per_query: what an answer
    takes; a refusal takes no time but the wait that it asks for.
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
