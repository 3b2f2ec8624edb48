"""What callers of the formats with JSON replies read: a value where an answer is due, and what a refusal states."""

from __future__ import annotations

import math
from typing import Any, get_args

from oracles.wire.bodies import MOST_WAIT, kind_of, message_of, parsed, retry_after, said
from oracles.wire.contract import HttpReply, Interface, Kind, Problem

KINDS: dict[str, Kind] = {kind: kind for kind in get_args(Kind)}

_VALUES, _VALUES_AN_IMAGE, _VALUES_A_CLASS = 100, 200, 8
"""Members and items in a reply at most: of itself, for each image, and for each class of each image."""


def reply_value(reply: HttpReply, interface: Interface, images: int = 1) -> Any:
    """The JSON value of a reply with an answer. Raises Problem (`failed`) if it has none, or one that is too long."""
    try:
        values = _VALUES + images * (_VALUES_AN_IMAGE + _VALUES_A_CLASS * len(interface.classes))
        return parsed(reply.body, values)
    except Problem as problem:
        raise Problem("failed", f"the service's answer cannot be read: {problem.message}") from None


def stated(problem: Problem) -> dict[str, Any]:
    """Members that say a problem exactly, for callers of ours, beside what the format says."""
    numbers = {"retry_after": problem.retry_after, "remaining": problem.remaining}
    return {"kind": problem.kind, **{name: value for name, value in numbers.items() if value is not None}}


def stated_problem(reply: HttpReply, otherwise: Kind | None = None) -> Problem:
    """What a reply says that is no answer. Never raises.

    Its kind is the one that `stated` wrote, else `otherwise`, else what the status says. The time to wait may also be
    in a header, or be `estimated_time` (seconds until a model is loaded, Hugging Face).
    """
    body = said(reply)
    fields = body if isinstance(body, dict) else {}
    times = (_number(fields.get("retry_after")), retry_after(reply), _number(fields.get("estimated_time")))
    wait = next((min(seconds, MOST_WAIT) for seconds in times if seconds is not None), None)
    left, kind = _number(fields.get("remaining")), fields.get("kind")
    known = KINDS.get(kind) if isinstance(kind, str) else None
    return Problem(
        known or otherwise or kind_of(reply.status), message_of(reply), wait, None if left is None else int(left)
    )


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0.0 <= value < math.inf else None
