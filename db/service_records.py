"""The records of calls that travelled over a network, and the form of a kept image on disk."""

from __future__ import annotations

import hashlib
import math
import zlib
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from db.errors import StorageError
from db.records import FloatArray, StoredCall

_LEVEL = 1
"""Of zlib: higher levels take several times as long and save a few per cent of an image."""

_MOST_VALUES = 2**27
"""Numbers in an image, far more than any model takes: what a damaged or hostile ledger may have unpacked at once."""


@dataclass(frozen=True, eq=False)
class Beside:
    """What is stored in the same transaction as a call.

    idempotency: the key of the request, None if it had none. digest: hexadecimal SHA-256 of the request. fingerprints:
    float32 (N, D), one row per query, which a guard remembers. images: float32 (N, C, H, W) to be kept. room: bytes
    that the compressed images may still take; what exceeds it is not kept, but its hash is. cap: the most that the
    caller may be charged over all its runs, None for no limit; only a book that several processes charge looks at it.
    alarms: what a detector found in the call, so that a ban is stored before the reply leaves.
    """

    idempotency: str | None = None
    digest: str = ""
    fingerprints: FloatArray | None = None
    images: FloatArray | None = None
    room: int = 0
    cap: int | None = None
    alarms: tuple[AlarmLike, ...] = ()


@dataclass(frozen=True, eq=False)
class StoredDelivery:
    """A call that was answered under an idempotency key. number: of the call. queries: its length."""

    digest: str
    number: int
    queries: int
    call: StoredCall


class AttemptLike(Protocol):
    """One event of a request that the caller sent. first: queries of the run that were asked before it.

    idempotency: its idempotency key. attempt: 1 for the first try. outcome: `sent`, before the first byte leaves; then
    `answered`, `refused`, `lost` (no reply) or `failed`. status: of the HTTP reply, if there was one. charged: the
    queries that the provider says it charged.
    """

    @property
    def first(self) -> int: ...

    @property
    def queries(self) -> int: ...

    @property
    def idempotency(self) -> str: ...

    @property
    def attempt(self) -> int: ...

    @property
    def outcome(self) -> str: ...

    @property
    def status(self) -> int | None: ...

    @property
    def charged(self) -> int | None: ...


@dataclass(frozen=True)
class Attempt:
    """A stored attempt, see `AttemptLike`."""

    first: int
    queries: int
    idempotency: str
    attempt: int
    outcome: str
    status: int | None = None
    charged: int | None = None


ATTEMPT_COLUMNS = "first, queries, idempotency, attempt, outcome, status, charged"


class AlarmLike(Protocol):
    """What a detector of probing found. first, queries: the range of the run's queries. action: what followed, in one
    word, such as `log` or `ban`."""

    @property
    def detector(self) -> str: ...

    @property
    def score(self) -> float: ...

    @property
    def first(self) -> int: ...

    @property
    def queries(self) -> int: ...

    @property
    def action(self) -> str: ...


@dataclass(frozen=True)
class Alarm:
    """A stored alarm, see `AlarmLike`."""

    detector: str
    score: float
    first: int
    queries: int
    action: str


ALARM_COLUMNS = "detector, score, first, queries, action"


def image_sha256(image: FloatArray) -> str:
    """The address of an image: hexadecimal SHA-256 of its shape and its float32 values, little-endian."""
    shape = "/".join(map(str, image.shape))
    return hashlib.sha256(f"{shape}\n".encode() + np.ascontiguousarray(image, "<f4").tobytes()).hexdigest()


def pack_picture(image: FloatArray) -> tuple[str, bytes]:
    """An image, float32 (C, H, W), as (codec, compressed bytes), without loss.

    Codecs: `uint8/C/H/W`, if every pixel is n / 255, and `float32/C/H/W`.
    """
    levels = np.round(image * np.float32(255.0))
    eight = np.clip(levels, 0, 255).astype(np.uint8)
    exact = np.array_equal(eight.astype(np.float32) / np.float32(255.0), image)
    name, data = ("uint8", eight.tobytes()) if exact else ("float32", image.astype("<f4").tobytes())
    return f"{name}/{'/'.join(map(str, image.shape))}", zlib.compress(data, _LEVEL)


def unpack_picture(codec: str, data: bytes) -> FloatArray:
    """The image that `pack_picture` was given. Raises StorageError on other bytes."""
    try:
        name, *numbers = codec[:80].split("/")
        shape = tuple(map(int, numbers))
        kind, width = {"uint8": ("u1", 1), "float32": ("<f4", 4)}[name]
        if len(shape) != 3 or min(shape) < 1 or math.prod(shape) > _MOST_VALUES:
            raise ValueError("it states no shape of an image")
        size = math.prod(shape) * width
        unpacked = zlib.decompressobj().decompress(data, size + 1)  # no more than the codec states
        values: FloatArray = np.frombuffer(unpacked, kind).reshape(shape).astype(np.float32)
    except (ValueError, KeyError, zlib.error) as error:
        raise StorageError(f"a kept image in the codec {codec[:40]!r} cannot be read: {error}") from error
    return values / np.float32(255.0) if name == "uint8" else values
