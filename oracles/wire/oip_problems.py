"""Refusals of the Open Inference Protocol: {"error": text} and a status; simkit adds the kind and its numbers."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from oracles.wire.bodies import json_reply, message_of, retry_header
from oracles.wire.contract import HttpReply, Kind, Problem
from oracles.wire.replies import stated, stated_problem

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
    status = STATUSES[problem.kind]
    headers = retry_header(problem) | ({"www-authenticate": "Bearer"} if status == 401 else {})
    return json_reply({"error": problem.message, **stated(problem)}, status, headers)


def problem(reply: HttpReply) -> Problem:
    """What a reply says that is no answer; never raises."""
    too_many = reply.status in (400, 422) and "batch-size must be" in message_of(reply)  # Triton's words
    return stated_problem(reply, "too_large" if too_many else None)
