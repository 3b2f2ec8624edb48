"""What every wire format does: four functions for each side of a connection, between bytes and plain values.

A format is stateless. It reads and writes bodies and headers, and decides nothing: who may ask, what it costs and
what is withheld is decided by the service that uses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from oracles.answers import Answer, FloatArray
from oracles.errors import OracleError
from oracles.oracle import ImageShape

Kind = Literal[
    "bad_request",  # cannot be read: syntax, missing fields, wrong types
    "invalid_images",  # can be read, but has a wrong shape, size or range
    "too_large",  # more bytes or images than one call may have
    "unsupported",  # a media type, encoding or option that the service does not have
    "unauthorized",  # no key, or a wrong one
    "expired",  # a key that is revoked or past its date
    "unknown_model",
    "rate",  # too many queries for now; retry_after is set
    "near_duplicate",  # too many of its images resemble earlier ones
    "budget",  # exhausted; remaining is set
    "banned",  # the provider has blocked this key
    "key_reused",  # an idempotency key that came with another body before
    "in_progress",  # a call with the same idempotency key is still running; retry_after is set
    "unavailable",  # overloaded or down for now; retry_after may be set
    "failed",  # the model failed
]
"""The kinds of refusals and failures. Each format has its own status and body for each of them."""

RETRYABLE: frozenset[Kind] = frozenset({"rate", "in_progress", "unavailable", "failed"})
"""Kinds after which the same call may succeed without a change."""


class Problem(OracleError):
    """Why a call has no answer; a format raises it where it finds it.

    message: one sentence that says what to change. retry_after: seconds until the call may be sent again. remaining:
    queries left in the budget.
    """

    def __init__(
        self, kind: Kind, message: str, retry_after: float | None = None, remaining: int | None = None
    ) -> None:
        super().__init__(message)
        self.kind, self.message, self.retry_after, self.remaining = kind, message, retry_after, remaining


@dataclass(frozen=True)
class HttpRequest:
    """One request. target: path and query string. headers: names in lower case."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class HttpReply:
    """One reply. headers: names in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Interface:
    """What the documentation of a service states about one of its models.

    model: its name in paths. classes: the name of each class, by its id; unique. max_batch: images per call. datatype:
    of tensors; formats that carry pictures always send 8 bits. places: what else a format's paths need, such as
    `project` or `iteration`.
    """

    model: str
    image_shape: ImageShape
    classes: tuple[str, ...]
    max_batch: int = 128
    datatype: Literal["FP32", "UINT8"] = "FP32"
    places: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Question:
    """One call as the service reads it.

    images: float32 (N, C, H, W) in [0, 1], N >= 1. top: number of classes that the caller wants; None for all.
    minimum: lowest score that the caller wants, in [0, 1]. form: how the caller wants the answer written, known only
    to the format.
    """

    images: FloatArray
    top: int | None = None
    minimum: float = 0.0
    form: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Route:
    """A path of a format, with parameters in braces, such as `/v2/models/{model}/infer`.

    purpose: `classify` routes carry images and are charged; `describe` routes state the interface; `health` routes
    need no key.
    """

    method: str
    path: str
    purpose: Literal["classify", "describe", "health"] = "classify"


class CallerSide(Protocol):
    """The caller's side of a wire format. Instances are immutable; every method is a pure function.

    name: as in `simkit scan NAME:URL`. pictures: whether images travel as 8-bit pictures (PNG), so that answers are
    those of an oracle with `quantized = true`. most: images per call that the format can carry, None for no limit.
    """

    @property
    def name(self) -> str: ...

    @property
    def pictures(self) -> bool: ...

    @property
    def most(self) -> int | None: ...

    def ask(self, images: FloatArray, interface: Interface, credential: str | None) -> HttpRequest:
        """The request that asks about `images`, float32 (N, C, H, W) in [0, 1], with N at most `most`."""
        ...

    def understand(self, reply: HttpReply, images: int, interface: Interface) -> Answer:
        """The answer in a reply of status 200. Raises Problem of kind `failed` on a body that is not one.

        Classes that the service did not name are MISSING or have a score of 0 with a floor; percentages become
        fractions; names become ids. An unknown name is an error, since its class cannot be told.
        """
        ...

    def problem(self, reply: HttpReply) -> Problem:
        """What a reply says that is no answer; never raises, whatever the body is."""
        ...


class Wire(CallerSide, Protocol):
    """A wire format with both sides: a caller's, and that of a service which can be asked in it."""

    @property
    def routes(self) -> tuple[Route, ...]: ...

    def credential(self, request: HttpRequest) -> str | None:
        """The API key that the request carries (of AWS: the key id), or None. Reads headers only."""
        ...

    def read(self, request: HttpRequest, interface: Interface) -> Question:
        """The images of a classify call. Raises Problem; never fetches anything that the request names."""
        ...

    def answer(self, question: Question, answer: Answer, interface: Interface) -> HttpReply:
        """The reply to `question`. An answer of fewer classes or of labels is written as the format can."""
        ...

    def refusal(self, problem: Problem) -> HttpReply:
        """The reply that says `problem`, with the format's status, body and retry header."""
        ...

    def describe(self, request: HttpRequest, interface: Interface) -> HttpReply:
        """The reply to a `describe` or `health` route."""
        ...
