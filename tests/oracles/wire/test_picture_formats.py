"""What every format of pictures keeps to: its two sides understand each other, and nothing hostile gets through."""

from __future__ import annotations

import dataclasses
import json
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracles.answers import Answer, encode, top_label
from oracles.wire.contract import HttpReply, HttpRequest, Kind, Problem, Question, Wire
from tests.oracles.wire.picture_formats import ABOUT, ANSWERS, FORMATS, IMAGES

every_format = pytest.mark.parametrize("wire", FORMATS, ids=lambda wire: wire.name)
every_answer = pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: encode(answer)[0])

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def reads(wire: Wire, request: HttpRequest) -> Question | Problem:
    try:
        return wire.read(request, ABOUT)
    except Problem as problem:
        return problem


@every_format
def test_it_is_a_wire_format(wire: Wire) -> None:
    assert wire.pictures
    assert wire.most == 1
    assert any(route.purpose == "classify" for route in wire.routes)


@every_format
def test_the_service_reads_what_the_caller_asks(wire: Wire) -> None:
    question = wire.read(wire.ask(IMAGES, ABOUT, None), ABOUT)
    np.testing.assert_array_equal(question.images, IMAGES)
    assert question.minimum == 0.0
    assert question.top in (None, len(ABOUT.classes))


@every_format
@every_answer
def test_the_caller_gets_the_very_answer(wire: Wire, answer: Answer) -> None:
    question = dataclasses.replace(wire.read(wire.ask(IMAGES, ABOUT, None), ABOUT), top=None)
    reply = wire.answer(question, answer, ABOUT)
    assert reply.status == 200
    assert encode(wire.understand(reply, 1, ABOUT)) == encode(answer)


@every_format
@every_answer
def test_without_our_header_the_top_class_is_the_same(wire: Wire, answer: Answer) -> None:
    reply = wire.answer(Question(IMAGES), answer, ABOUT)
    plain = HttpReply(200, {}, reply.body)
    assert top_label(wire.understand(plain, 1, ABOUT)) == top_label(answer)


@every_format
@pytest.mark.parametrize("kind", get_args(Kind))
def test_a_problem_comes_back_whole(wire: Wire, kind: Kind) -> None:
    said = Problem(kind, "why, in one sentence", 1.25 if kind == "rate" else None, 7 if kind == "budget" else None)
    reply = wire.refusal(said)
    assert reply.status >= 400
    read = wire.problem(reply)
    assert (read.kind, read.message, read.retry_after, read.remaining) == (
        (said.kind, said.message, said.retry_after, said.remaining)
    )


@every_format
def test_a_bare_refusal_says_when_to_come_again(wire: Wire) -> None:
    reply = wire.refusal(Problem("rate", "slow down", 1.25))
    names = {"retry-after", "x-amz-retry-after"} & set(reply.headers)
    assert wire.problem(HttpReply(429, {name: reply.headers[name] for name in names})).retry_after in (1.25, 2.0)


@every_format
@given(data=st.data())
def test_hostile_bodies_raise_problem_only(wire: Wire, data: st.DataObject) -> None:
    good = wire.ask(IMAGES, ABOUT, None)
    at, junk = data.draw(st.integers(0, len(good.body))), data.draw(st.binary(max_size=40))
    for body in (junk, good.body[:at], good.body[:at] + junk + good.body[at:], good.body[:at] + junk):
        reads(wire, dataclasses.replace(good, body=body))


@every_format
@given(
    value=JSON, kind=st.sampled_from(["application/json", "", "multipart/form-data", "multipart/form-data;boundary=x"])
)
def test_hostile_json_is_refused(wire: Wire, value: object, kind: str) -> None:
    good = wire.ask(IMAGES, ABOUT, None)
    body = json.dumps(value).encode()
    request = dataclasses.replace(good, headers={**good.headers, "content-type": kind}, body=body)
    assert isinstance(reads(wire, request), Problem)


@every_format
@given(body=st.binary(max_size=60) | JSON.map(lambda v: json.dumps(v).encode()), status=st.integers(100, 599))
def test_hostile_replies_are_failures(wire: Wire, body: bytes, status: int) -> None:
    try:
        outcome = encode(wire.understand(HttpReply(200, {}, body), 1, ABOUT))[0]
    except Problem as problem:
        outcome = problem.kind
    assert outcome in ("failed", "topk/6/1/1.0")  # the latter: an empty list, so that no class was named
    assert isinstance(wire.problem(HttpReply(status, {"retry-after": "soon"}, body)), Problem)


@every_format
@pytest.mark.parametrize("body", [b"", b"[", b'{"a":' * 10_000, b"[" + b"1," * 2_000_000 + b"1]", b"\xff\xfe"], ids=len)
def test_bodies_that_would_cost_are_refused(wire: Wire, body: bytes) -> None:
    good = wire.ask(IMAGES, ABOUT, None)
    assert isinstance(reads(wire, dataclasses.replace(good, body=body)), Problem)
    with pytest.raises(Problem):
        wire.understand(HttpReply(200, {}, body), 1, ABOUT)
    assert wire.problem(HttpReply(500, {}, body)).kind == "failed"


@every_format
def test_a_picture_of_another_size_is_refused(wire: Wire) -> None:
    other = dataclasses.replace(ABOUT, image_shape=(3, 5, 4))
    problem = reads(wire, wire.ask(np.zeros((1, 3, 5, 4), np.float32), other, None))
    assert isinstance(problem, Problem)
    assert problem.kind == "invalid_images"
    assert "high" in problem.message


@every_format
def test_an_unknown_class_is_a_failure(wire: Wire) -> None:
    reply = wire.answer(Question(IMAGES), ANSWERS[0], ABOUT)
    with pytest.raises(Problem, match="among those stated"):
        wire.understand(reply, 1, dataclasses.replace(ABOUT, classes=("a", "b", "c", "d", "e", "f")))


@every_format
def test_no_key_is_no_credential(wire: Wire) -> None:
    assert wire.credential(HttpRequest("POST", "/")) is None
    assert wire.credential(HttpRequest("POST", "/", {"authorization": "Basic xyz"})) is None
