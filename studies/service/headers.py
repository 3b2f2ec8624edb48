"""The headers of a service's own: how a call is told apart from others, and what every reply says of limits and cost.

`RateLimit` and `RateLimit-Policy` are those of draft-ietf-httpapi-ratelimit-headers-10; their unit `images` is ours,
as are `limit` and `seconds`, which say the exact rate where a window is no whole number of seconds.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence

from oracles.wire.contract import HttpRequest, Problem
from studies.service.gate import Delivery, Outcome, RateState

IDEMPOTENCY = ("idempotency-key", "amz-sdk-invocation-id")
"""Headers that name a call, so that a retry is known; the second is what AWS clients send with all tries of a call."""

FIRST = "simkit-first-query"

ANSWERS = "simkit-answers"
"""With a description of a model: what kind of answers the key gets, see `Gate.answers`."""

_NAME = re.compile(r"[!-~]{1,255}")
_BOUNDARY = re.compile(r"^multipart/[^;]+;.*?boundary=\"?([^\";,]{1,70})", re.IGNORECASE)
_ORDINAL = re.compile(r"\d{1,15}", re.ASCII)
_UNSAFE = re.compile(r"[^ !#-\[\]-~]")


def delivery_of(request: HttpRequest) -> Delivery:
    """How a question arrived. request: with its body unpacked. Raises Problem (`bad_request`)."""
    path = request.target.partition("?")[0]
    digest = hashlib.sha256(f"{request.method}\n{path}\n".encode("utf-8", "surrogateescape"))
    digest.update(_without_boundary(request))
    name = next((request.headers[header] for header in IDEMPOTENCY if header in request.headers), None)
    if name is not None and not _NAME.fullmatch(name):
        raise Problem("bad_request", "an idempotency key is 1 to 255 visible ASCII characters")
    first = request.headers.get(FIRST)
    if first is not None and not _ORDINAL.fullmatch(first):
        raise Problem("bad_request", f"{FIRST} must be the ordinal of the call's first query, counted from 0")
    return Delivery(digest.digest(), name, None if first is None else int(first))


def _without_boundary(request: HttpRequest) -> bytes:
    """The body; of a form without its boundary, which clients draw anew for each try of a call."""
    found = _BOUNDARY.search(request.headers.get("content-type", ""))
    return request.body.replace(found[1].encode("latin-1"), b"") if found else request.body


def limits(rates: Sequence[RateState]) -> dict[str, str]:
    """Headers that state every rate limit, the tightest first; none without one."""
    if not rates:
        return {}
    policies = (f"{_name(rate)};q={rate.quota};w={math.ceil(rate.window)}{_unit(rate)}{_exact(rate)}" for rate in rates)
    states = (f"{_name(rate)};r={max(rate.left, 0)};t={math.ceil(rate.reset)}" for rate in rates)
    return {"ratelimit-policy": ", ".join(policies), "ratelimit": ", ".join(states)}


def _unit(rate: RateState) -> str:
    return "" if rate.calls else ';qu="images"'


def _exact(rate: RateState) -> str:
    return "" if rate.window == math.ceil(rate.window) else f";limit={rate.limit};seconds={rate.seconds}"


def _name(rate: RateState) -> str:
    return f'"{_UNSAFE.sub("_", rate.name)}"'


def cost(charged: int, remaining: int | None) -> dict[str, str]:
    """Headers that state what a reply cost and what is left; no `simkit-remaining` for a key without a budget."""
    return {"simkit-charged": str(charged)} | ({} if remaining is None else {"simkit-remaining": str(remaining)})


def of_answer(outcome: Outcome) -> dict[str, str]:
    """`cost`, the place of the answer among the queries of its key, and whether it was given before."""
    told = {**cost(outcome.charged, outcome.remaining), FIRST: str(outcome.first)}
    return told | ({"idempotency-replayed": "true"} if outcome.replayed else {})
