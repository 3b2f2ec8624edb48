"""Bodies within limits: what is unpacked, parsed and read of a refusal."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracles.wire.bodies import (
    MOST_MESSAGE,
    MOST_WAIT,
    json_reply,
    kind_of,
    member,
    message_of,
    parsed,
    parsed_object,
    retry_after,
    retry_header,
    unpacked,
)
from oracles.wire.contract import HttpReply, HttpRequest, Problem


def packed(data: bytes) -> bytes:
    """gzip without the time, so that the ids of tests are the same in every process."""
    return gzip.compress(data, mtime=0)


def sent(body: bytes, encoding: str) -> HttpRequest:
    return HttpRequest("POST", "/", {"content-encoding": encoding, "x-other": "1"}, body)


@pytest.mark.parametrize(
    ("encoding", "body"), [("gzip", packed(b"abc")), ("deflate", zlib.compress(b"abc")), ("Identity", b"abc")]
)
def test_a_body_is_unpacked_once(encoding: str, body: bytes) -> None:
    plain = unpacked(sent(body, encoding))
    assert plain.body == b"abc"
    assert plain.headers["x-other"] == "1"
    assert unpacked(plain) == plain


@pytest.mark.parametrize(
    ("body", "encoding", "kind"),
    [
        (packed(b"abc")[:-1], "gzip", "bad_request"),
        (packed(b"abc") + b"x", "gzip", "bad_request"),
        (b"abc", "gzip", "bad_request"),
        (b"", "gzip", "bad_request"),
        (b"abc", "br", "unsupported"),
        (b"abc", "gzip, gzip", "unsupported"),
        (packed(bytes(101)), "gzip", "too_large"),
        (bytes(101), "", "too_large"),
    ],
)
def test_a_body_that_is_not_whole_known_or_small_is_refused(body: bytes, encoding: str, kind: str) -> None:
    with pytest.raises(Problem) as raised:
        unpacked(sent(body, encoding), 100)
    assert raised.value.kind == kind


def test_a_bomb_of_gzip_allocates_no_more_than_its_cap() -> None:
    bomb = gzip.compress(bytes(200_000_000), 9)
    assert len(bomb) < 200_000
    tracemalloc.start()
    try:
        with pytest.raises(Problem, match="more than 1000000 bytes"):
            unpacked(sent(bomb, "gzip"), 1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "bad_request"),
        (b"{", "bad_request"),
        (b"[NaN]", "bad_request"),
        (b"[-Infinity]", "bad_request"),
        (b'"\xff"', "bad_request"),
        (b"9" * 10_000, "bad_request"),
        (b"[" * 100_000, "bad_request"),
        (b"[0" + b",0" * 100 + b"]", "too_large"),
    ],
)
def test_json_that_is_none_or_has_too_many_values_is_refused(body: bytes, kind: str) -> None:
    with pytest.raises(Problem) as raised:
        parsed(body, 99)
    assert raised.value.kind == kind


def test_members_have_the_type_that_is_asked_for() -> None:
    value = parsed_object(b'{"n": 3, "yes": true, "none": null}', 10)
    assert member(value, "n", int) == 3
    assert member(value, "none", list, []) == member(value, "absent", list, []) == []
    for name, kind in (("yes", int), ("n", str), ("n", dict)):
        with pytest.raises(Problem, match=name):
            member(value, name, kind)
    with pytest.raises(Problem, match="object"):
        parsed_object(b"[]", 10)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "Sun, 29 Nov 2026 10:00:07 GMT", "date": "Sun, 29 Nov 2026 10:00:00 GMT"}, 7.0),
        ({"retry-after": "Sun, 29 Nov 2026 10:00:00 GMT", "date": "Sun, 29 Nov 2026 10:00:07 GMT"}, 0.0),
        ({"retry-after": "Sun, 29 Nov 2026 10:00:07 GMT"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "1e9"}, MOST_WAIT),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "soon", "date": "now"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_both_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(HttpReply(429, headers)) == seconds


def test_retry_after_is_written_in_whole_seconds_and_never_too_early() -> None:
    assert retry_header(Problem("rate", "wait", 1.2)) == {"retry-after": "2"}
    assert retry_header(Problem("rate", "wait")) == {}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"error": "no such model"}', "no such model"),
        (b'{"detail": "bad JSON"}', "bad JSON"),
        (b'{"message": "Not\\nfound"}', "Not found"),
        (b'{"error": {"code": 429, "message": "slow down", "status": "X"}}', "slow down"),
        (b'{"detail": [{"loc": ["body"], "msg": "field required"}]}', "field required"),
        (b"Internal Server Error", "Internal Server Error"),
        (b"\x1b[31m\xff\x00red", "[31m\N{REPLACEMENT CHARACTER} red"),
        (b"", "the service answered with status 500 and no message"),
        (b"x" * 1000, "x" * MOST_MESSAGE),
    ],
)
def test_the_message_of_a_refusal_is_found_where_servers_put_it(body: bytes, text: str) -> None:
    assert message_of(HttpReply(500, {}, body)) == text


@given(st.binary() | st.recursive(st.none() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_a_message_is_one_printable_line_whatever_the_body(value: object) -> None:
    reply = HttpReply(500, {}, value) if isinstance(value, bytes) else json_reply(value, 500)
    line = message_of(reply)
    assert 0 < len(line) <= MOST_MESSAGE
    assert line.isprintable()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *[(400, "bad_request"), (418, "bad_request"), (429, "rate"), (403, "unauthorized"), (503, "unavailable")],
        *[(500, "failed"), (200, "failed"), (302, "failed")],
    ],
)
def test_a_status_says_a_kind(status: int, kind: str) -> None:
    assert kind_of(status) == kind
