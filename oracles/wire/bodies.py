"""What formats share about bodies: JSON and gzip within limits, and what a reply says that is no answer."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Any

from pydantic_core import from_json, to_json

from oracles.wire.contract import HttpReply, HttpRequest, Interface, Kind, Problem

MOST_BYTES = 1 << 28
"""Bytes of one body, unpacked: 256 MiB, which hold 400 images of 224 x 224 pixels as float32."""

MOST_MESSAGE_BYTES = 1 << 16
"""Bytes of a refusal that are looked at."""

MOST_MESSAGE = 300
"""Characters of a service's message that are passed on."""

MOST_WAIT = 86_400.0
"""Seconds: a longer Retry-After is read as this one."""

_PICTURE_SPARE = 1 << 16

_SENTENCES = ("error", "message", "Message", "detail", "msg", "status", "details", "description")

_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}

_KINDS: dict[int, Kind] = {
    401: "unauthorized",
    402: "budget",
    403: "unauthorized",
    404: "unknown_model",
    405: "unsupported",
    406: "unsupported",
    408: "unavailable",
    409: "in_progress",
    413: "too_large",
    415: "unsupported",
    425: "unavailable",
    429: "rate",
    501: "unsupported",
    502: "unavailable",
    503: "unavailable",
    504: "unavailable",
}


def unpacked(request: HttpRequest, most: int = MOST_BYTES) -> HttpRequest:
    """The request with its body unpacked, without its Content-Encoding: gzip, deflate or none.

    most: bytes of the unpacked body; no more than that is ever allocated. Raises Problem: `too_large` if there are
    more, `bad_request` if the body is no whole stream, `unsupported` on another encoding.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        _check_size(len(request.body), most)
        return request
    window = _WINDOWS.get(encoding)
    if window is None:
        raise Problem("unsupported", f"the content encoding {encoding[:40]!r} is unknown; send gzip or a plain body")
    unpacker = zlib.decompressobj(window)
    try:
        body = unpacker.decompress(request.body, most + 1)
    except zlib.error:
        raise Problem("bad_request", f"the body is no {encoding}; compress it again or send it plain") from None
    _check_size(len(body), most)
    if not unpacker.eof or unpacker.unused_data:
        raise Problem("bad_request", f"the body is not one whole {encoding} stream; compress it again")
    headers = {name: value for name, value in request.headers.items() if name != "content-encoding"}
    return replace(request, headers=headers, body=body)


def picture_bytes(interface: Interface) -> int:
    """Bytes that a JSON body with as many pictures as a call may have can be expected to need, at most MOST_BYTES."""
    return min(MOST_BYTES, interface.max_batch * (8 * math.prod(interface.image_shape) + _PICTURE_SPARE))


def _check_size(size: int, most: int) -> None:
    if size > most:
        raise Problem("too_large", f"the body has more than {most} bytes; send fewer images a call")


def parsed(body: bytes | memoryview, values: int) -> Any:
    """The JSON value in a body; NaN and infinity are no JSON.

    values: how many items of lists and objects it may have; counted before it is parsed, so that memory stays in
    proportion to it. Raises Problem (`bad_request`, `too_large`).
    """
    data = bytes(body)
    if data.count(b",") > values:
        raise Problem("too_large", f"the JSON has more than {values} values; send fewer images a call")
    try:
        return from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise Problem("bad_request", f"the body is no JSON that can be read: {error}") from None


def parsed_object(body: bytes | memoryview, values: int) -> dict[str, Any]:
    """`parsed`, which must be an object."""
    value = parsed(body, values)
    if not isinstance(value, dict):
        raise Problem("bad_request", "the body must be a JSON object")
    return value


def member(value: Mapping[str, Any], name: str, kind: type[Any], otherwise: Any = None) -> Any:
    """The member `name` of an object, of type `kind`; `otherwise` if it is not there or null.

    kind: float stands for any number. Raises Problem (`bad_request`) on another type; true and false are no numbers.
    """
    found = value.get(name)
    if found is None:
        return otherwise
    wanted = int | float if kind is float else kind
    if not isinstance(found, wanted) or (kind in (int, float) and isinstance(found, bool)):
        words = {int: "an integer", str: "a text", bool: "true or false", list: "a list", dict: "an object"}
        raise Problem("bad_request", f"{name!r} must be {words.get(kind, 'a number')}")
    return found


def json_reply(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpReply:
    """A reply with `value` as JSON. Numbers that are not finite become null."""
    return HttpReply(status, {"content-type": "application/json", **(headers or {})}, to_json(value))


def retry_header(problem: Problem) -> dict[str, str]:
    """Retry-After in whole seconds, rounded up, if the problem has a time."""
    return {} if problem.retry_after is None else {"retry-after": str(math.ceil(problem.retry_after))}


def retry_after(reply: HttpReply) -> float | None:
    """Seconds that a Retry-After header asks to wait, or the time from the Date header to the date in it.

    None without one that can be read; at most MOST_WAIT.
    """
    text = reply.headers.get("retry-after", "").strip()
    try:
        seconds = float(text) if text[:1].isdigit() else _seconds_until(text, reply.headers["date"])
    except (KeyError, ValueError, TypeError, OverflowError, IndexError):
        return None
    return min(max(seconds, 0.0), MOST_WAIT) if math.isfinite(seconds) else None


def _seconds_until(date: str, now: str) -> float:
    return (parsedate_to_datetime(date) - parsedate_to_datetime(now)).total_seconds()


def kind_of(status: int) -> Kind:
    """The kind of problem that an HTTP status says by itself; `failed` for one that says nothing."""
    return _KINDS.get(status, "bad_request" if 400 <= status < 500 else "failed")


def said(reply: HttpReply) -> Any:
    """The JSON value in a reply that is no answer; None if it has none that is small."""
    if len(reply.body) > MOST_MESSAGE_BYTES:
        return None
    try:
        return parsed(reply.body, MOST_MESSAGE_BYTES)
    except Problem:
        return None


def message_of(reply: HttpReply) -> str:
    """What a reply says that is no answer, in one line: the text of the first of its members below, or all of it."""
    text = _sentence(said(reply), 3) or reply.body[:MOST_MESSAGE_BYTES].decode("utf-8", "replace")
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())[:MOST_MESSAGE]
    return line or f"the service answered with status {reply.status} and no message"


def _sentence(value: Any, depth: int) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and depth:
        return _sentence(value[0], depth - 1)
    if not isinstance(value, dict) or not depth:
        return None
    found = (_sentence(value.get(name), depth - 1) for name in _SENTENCES)
    return next((text for text in found if text), None)
