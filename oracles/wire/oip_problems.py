"""Refusals of the Open Inference Protocol: {"error": text} and a status; simkit adds the kind and its numbers."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any, get_args

from oracles.wire.bodies import MOST_WAIT, json_reply, kind_of, message_of, retry_after, retry_header, said
from oracles.wire.contract import HttpReply, Kind, Problem

STATUSES: dict[Kind, int] = {
    "bad_request": 400,
    "invalid_images": 400,
    "too_large": 413,
    "unsupported": 415,
    "unauthorized": 401,
    "expired": 401,
    "unknown_model": 404,
    "rate": 429,
    "near_duplicate": 403,
    "budget": 403,
    "banned": 403,
    "key_reused": 422,
    "in_progress": 409,
    "unavailable": 503,
    "failed": 500,
}

KINDS: dict[str, Kind] = {kind: kind for kind in get_args(Kind)}


def credential(headers: Mapping[str, str]) -> str | None:
    """A bearer token, or the password (without one: the name) of basic authentication."""
    scheme, _, text = headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer":
        return text.strip() or None
    if scheme.lower() != "basic":
        return None
    try:
        name, _, password = base64.b64decode(text.strip(), validate=True).decode().partition(":")
    except ValueError:
        return None
    return password or name or None


def refusal(problem: Problem) -> HttpReply:
    """The reply that says `problem`."""
    body: dict[str, Any] = {"error": problem.message, "kind": problem.kind}
    body |= {} if problem.retry_after is None else {"retry_after": problem.retry_after}
    body |= {} if problem.remaining is None else {"remaining": problem.remaining}
    headers = retry_header(problem) | ({"www-authenticate": "Bearer"} if STATUSES[problem.kind] == 401 else {})
    return json_reply(body, STATUSES[problem.kind], headers)


def problem(reply: HttpReply) -> Problem:
    """What a reply says that is no answer; never raises."""
    value, message = said(reply), message_of(reply)
    body: Mapping[str, Any] = value if isinstance(value, dict) else {}
    return Problem(_kind(reply.status, body, message), message, _wait(reply, body), _remaining(body))


def _kind(status: int, body: Mapping[str, Any], message: str) -> Kind:
    stated = body.get("kind")
    if isinstance(stated, str) and stated in KINDS:
        return KINDS[stated]
    if status in (400, 422) and "batch-size must be" in message:  # Triton, of a batch over its max_batch_size
        return "too_large"
    return "bad_request" if status == 422 else kind_of(status)


def _wait(reply: HttpReply, body: Mapping[str, Any]) -> float | None:
    stated = body.get("retry_after")
    if isinstance(stated, int | float) and 0.0 <= stated < math.inf:
        return float(min(stated, MOST_WAIT))
    return retry_after(reply)


def _remaining(body: Mapping[str, Any]) -> int | None:
    stated = body.get("remaining")
    return stated if isinstance(stated, int) and not isinstance(stated, bool) and stated >= 0 else None
