"""What every wire format promises to both sides: subclass `WireContract` and give it one."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import tracemalloc
from typing import get_args

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oracles.answers import MISSING, Answer, FloatArray, Labels, Scores, TopK, encode, top_label
from oracles.wire.contract import CallerSide, HttpReply, HttpRequest, Interface, Kind, Problem, Route, Wire

KINDS: tuple[Kind, ...] = get_args(Kind)

CLASSES = ("plane", "car: red", "bird", "ça", "deer", "dog", "frog", "horse", "ship", "truck")

HOSTILE = (
    b"",
    b"\x00" * 64,
    b"{",
    b"null",
    b"[]",
    b"{}",
    b'"text"',
    b"NaN",
    b"[NaN, Infinity]",
    b"[" * 5000,
    b'{"a":' * 5000,
    b'{"inputs": null, "instances": null, "outputs": null, "predictions": null}',
    b'{"inputs": [1], "instances": [1], "outputs": [1], "predictions": [1]}',
    b'{"inputs": {}, "instances": {}, "outputs": {}, "predictions": {}}',
    b'{"inputs": [{}], "instances": [{}], "outputs": [{}], "predictions": [{}]}',
    b'{"inputs": [[]], "instances": [[]], "outputs": [[]], "predictions": [[]]}',
    b"[" + b"9" * 5000 + b"]",
    b"[1e999, -1e999]",
    b'{"error": {"code": "x", "message": 3, "details": [1, {"@type": 2}]}}',
    b'{"__type": [], "message": {}}',
    b'{"status": {"code": "x"}, "retry_after": 1e999, "remaining": -1}',
    b"\x1f\x8b\x08\x00",
    b"\xff\xfe{\x00}\x00",
)
"""Bodies that are no call, no answer and no refusal of any format."""

BOMB = gzip.compress(b'{"inputs": "' + bytes(100_000_000), 9, mtime=0)
"""100 MB in 100 kB."""

LARGE = (b"[" + b"0," * 2_000_000 + b"0]", b'{"a": [' + b"[]," * 1_000_000 + b"[]]}", bytes(4_000_000))
"""Hostile bodies of megabytes."""

MEMORY = 48 << 20
"""Bytes that a hostile body of a few megabytes may make a format allocate for the interface of these tests."""

HYPOTHESIS = settings(
    deadline=None,
    max_examples=60,
    # One inherited property runs for each subclass, each with an instance of its own.
    suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow],
)


def shown(body: bytes) -> str:
    """The beginning of a body, as the id of a test."""
    return repr(body[:40])


def rows(seed: int, images: int, n_classes: int) -> FloatArray:
    """Probabilities, float32 (images, n_classes), that need all digits."""
    logits = np.random.default_rng(seed).normal(size=(images, n_classes))
    values: FloatArray = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)
    return values


def top(values: FloatArray, k: int, floor: float = 0.0) -> TopK:
    """The k classes of the highest scores; those of score 0 are MISSING if there is a floor."""
    classes = np.argsort(-values, axis=1, kind="stable")[:, :k].astype(np.int32)
    kept = np.take_along_axis(values, classes, axis=1)
    if floor > 0.0:
        classes[kept == 0.0] = MISSING
    return TopK(classes, kept, values.shape[1], floor)


def answers(n_classes: int, images: int) -> dict[str, Answer]:
    """An answer of every kind by its name."""
    values = rows(3, images, n_classes)
    above = np.where(values < 0.15, np.float32(0.0), values)
    labels = values.argmax(axis=1).astype(np.int32)
    none = labels.copy()
    none[0] = MISSING
    return {
        "scores": Scores(values),
        "rounded": Scores(np.round(values.astype(np.float64), 2).astype(np.float32), 0.005),
        "threshold": Scores(above, 0.15),
        "nothing above the threshold": Scores(np.zeros_like(values), 0.99),
        "top-1": top(values, 1),
        "top-3": top(values, 3),
        "all ranked": top(values, n_classes),
        "top-5 above a threshold": top(above, 5, 0.15),
        "labels": Labels(labels, n_classes),
        "labels, one missing": Labels(none, n_classes),
    }


ANSWERS = tuple(answers(10, 1))


class CallerContract:
    """Contract tests of a format's caller's side."""

    wire: CallerSide
    interface = Interface("net", (3, 8, 8), CLASSES, max_batch=4)
    nothing: tuple[bytes, ...] = ()
    """The hostile bodies by which a service of this format names no class."""

    def understood(self, reply: HttpReply, images: int = 1) -> None:
        """Understanding raises a Problem of kind `failed` or gives an answer for each image."""
        kind, count = "failed", images
        try:
            count = len(self.wire.understand(reply, images, self.interface))
        except Problem as problem:
            kind = problem.kind
        assert (kind, count) == ("failed", images)

    @pytest.mark.parametrize("body", HOSTILE, ids=shown)
    def test_a_hostile_reply_is_no_answer(self, body: bytes) -> None:
        if body in self.nothing:
            assert top_label(self.wire.understand(HttpReply(200, {}, body), 1, self.interface)).tolist() == [MISSING]
            return
        with pytest.raises(Problem) as raised:
            self.wire.understand(HttpReply(200, {"content-type": "application/json"}, body), 1, self.interface)
        assert raised.value.kind == "failed"
        for status in (200, 302, 400, 403, 429, 500):
            assert self.wire.problem(HttpReply(status, {"retry-after": "x"}, body)).message

    @HYPOTHESIS
    @given(st.binary(max_size=300), st.dictionaries(st.sampled_from(["retry-after", "simkit-answer"]), st.text()))
    def test_random_replies_raise_problems_only(self, body: bytes, headers: dict[str, str]) -> None:
        self.understood(HttpReply(200, headers, body))
        assert self.wire.problem(HttpReply(429, headers, body)).message

    @pytest.mark.parametrize("body", LARGE, ids=len)
    def test_a_large_hostile_reply_allocates_little(self, body: bytes) -> None:
        tracemalloc.start()
        try:
            self.understood(HttpReply(200, {}, body))
            assert self.wire.problem(HttpReply(500, {}, body)).message
            assert tracemalloc.get_traced_memory()[1] < MEMORY
        finally:
            tracemalloc.stop()


class WireContract(CallerContract):
    """Contract tests of a format with both sides."""

    wire: Wire
    credentials: tuple[str, str] = ("sk-a1-secret", "sk-a1-secret")
    """What the caller has, and what the service reads of it from the headers."""

    def images(self, count: int) -> FloatArray:
        shape = (count, *self.interface.image_shape)
        return np.random.default_rng(5).random(shape, dtype=np.float32)

    def most(self) -> int:
        return min(self.wire.most or self.interface.max_batch, self.interface.max_batch)

    def ask(self, count: int = 1) -> HttpRequest:
        return self.wire.ask(self.images(count), self.interface, self.credentials[0])

    def signed(self, request: HttpRequest) -> HttpRequest:
        """The request as it is sent, for formats whose signature is made later."""
        return request

    def back(self, answer: Answer) -> Answer:
        """The answer after both sides of the format."""
        question = self.wire.read(self.ask(len(answer)), self.interface)
        return self.wire.understand(self.wire.answer(question, answer, self.interface), len(answer), self.interface)

    def kept(self, answer: Answer) -> Answer:
        """What a format keeps of an answer; by default all of it."""
        return answer

    def told(self, kind: Kind) -> Kind:
        """The kind that a caller can tell; by default every one."""
        return kind

    # Questions.

    def test_images_come_as_they_were_sent(self) -> None:
        for count in {1, self.most()}:
            images = self.images(count)
            if self.wire.pictures or self.interface.datatype == "UINT8":
                images = np.rint(images * np.float32(255.0)) / np.float32(255.0)
            read = self.wire.read(self.ask(count), self.interface)
            assert read.images.dtype == np.float32
            np.testing.assert_array_equal(read.images, images, strict=True)
            assert read.minimum == 0.0
            assert read.top in (None, len(self.interface.classes))

    def test_the_request_goes_to_a_route_that_classifies(self) -> None:
        request = self.ask()
        assert [r for r in self.wire.routes if r.purpose == "classify" and matches(r, request)]
        assert all(name == name.lower() for name in request.headers)

    def test_the_credential_is_in_the_headers_and_nowhere_else(self) -> None:
        request = self.signed(self.ask())
        assert self.wire.credential(request) == self.credentials[1]
        secret = self.credentials[0].rpartition("-")[2].encode()
        assert secret not in request.body
        assert secret not in request.target.encode()
        anonymous = self.wire.ask(self.images(1), self.interface, None)
        assert self.wire.credential(anonymous) is None
        assert self.wire.credential(HttpRequest("POST", "/", {"authorization": "x", "x-other": "y"})) is None

    def test_more_images_than_the_service_takes_are_refused(self) -> None:
        small = Interface("net", self.interface.image_shape, CLASSES, 1, places=self.interface.places)
        if self.wire.most == 1:
            pytest.skip("the format carries one image a call")
        with pytest.raises(Problem) as raised:
            self.wire.read(self.ask(2), small)
        assert raised.value.kind == "too_large"

    def test_images_of_another_size_are_refused(self) -> None:
        other = Interface("net", (3, 8, 9), CLASSES, 4, places=self.interface.places)
        with pytest.raises(Problem) as raised:
            self.wire.read(self.ask(), other)
        assert raised.value.kind == "invalid_images"

    # Answers.

    @pytest.mark.parametrize("name", ANSWERS)
    def test_an_answer_comes_back(self, name: str) -> None:
        for count in {1, self.most()}:
            answer = answers(len(self.interface.classes), count)[name]
            assert encode(self.back(answer)) == encode(self.kept(answer))

    def test_an_answer_is_for_as_many_images_as_were_asked(self) -> None:
        if self.wire.most == 1:
            pytest.skip("the format carries one image a call")
        question = self.wire.read(self.ask(), self.interface)
        reply = self.wire.answer(question, Scores(rows(1, 1, 10)), self.interface)
        with pytest.raises(Problem) as raised:
            self.wire.understand(reply, 2, self.interface)
        assert raised.value.kind == "failed"

    # Refusals.

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_refusal_is_told(self, kind: Kind) -> None:
        wait = 2.5 if kind in ("rate", "in_progress", "unavailable") else None
        reply = self.wire.refusal(Problem(kind, f"no, since {kind}", wait, 7 if kind == "budget" else None))
        assert reply.status >= 400
        told = self.wire.problem(reply)
        assert told.kind == self.told(kind)
        assert f"no, since {kind}" in told.message
        if wait is not None and told.kind in ("rate", "in_progress", "unavailable"):
            assert told.retry_after is not None
            assert wait <= told.retry_after < wait + 1.0

    def test_what_must_not_be_repeated_is_no_429(self) -> None:
        for kind in ("budget", "banned"):
            assert self.wire.refusal(Problem(kind, "no", remaining=0)).status != 429

    # Interfaces.

    def test_every_description_and_health_route_answers(self) -> None:
        for route in self.wire.routes:
            if route.purpose != "classify":
                target = re.sub(r"\{model\}", self.interface.model, route.path)
                request = HttpRequest(route.method, re.sub(r"\{\w+\}", "1", target))
                reply = self.wire.describe(request, self.interface)
                assert reply.status == 200
                assert not reply.body or json.loads(reply.body) is not None

    # Hostile bodies.

    def survives(self, request: HttpRequest) -> None:
        """Reading raises a Problem or gives images of the model's shape and range."""
        images = self.images(1)
        with contextlib.suppress(Problem):
            images = self.wire.read(request, self.interface).images
        assert images.shape[1:] == self.interface.image_shape
        assert 0.0 <= images.min() <= images.max() <= 1.0

    @pytest.mark.parametrize("body", HOSTILE, ids=shown)
    def test_a_hostile_body_is_refused(self, body: bytes) -> None:
        request = self.ask()
        with pytest.raises(Problem):
            self.wire.read(HttpRequest(request.method, request.target, request.headers, body), self.interface)

    @HYPOTHESIS
    @given(st.binary(max_size=300), st.dictionaries(st.sampled_from(["content-encoding", "content-type"]), st.text()))
    def test_random_bytes_raise_problems_only(self, body: bytes, headers: dict[str, str]) -> None:
        request = self.ask()
        self.survives(HttpRequest(request.method, request.target, {**request.headers, **headers}, body))

    @HYPOTHESIS
    @given(st.data())
    def test_damaged_bodies_raise_problems_only(self, data: st.DataObject) -> None:
        request = self.ask()
        question = self.wire.read(request, self.interface)
        name = data.draw(st.sampled_from(ANSWERS))
        reply = self.wire.answer(question, answers(10, 1)[name], self.interface)
        self.survives(HttpRequest(request.method, request.target, request.headers, damaged(data, request.body)))
        self.understood(HttpReply(200, reply.headers, damaged(data, reply.body)))
        refusal = self.wire.refusal(Problem("budget", "no", 1.5, 3))
        assert self.wire.problem(HttpReply(refusal.status, refusal.headers, damaged(data, refusal.body))).message

    @pytest.mark.parametrize("body", [*LARGE, BOMB], ids=len)
    def test_a_large_hostile_body_allocates_little(self, body: bytes) -> None:
        request = self.ask()
        encoding = {"content-encoding": "gzip"} if body is BOMB else {}
        tracemalloc.start()
        try:
            self.survives(HttpRequest(request.method, request.target, {**request.headers, **encoding}, body))
            assert tracemalloc.get_traced_memory()[1] < MEMORY
        finally:
            tracemalloc.stop()


def damaged(data: st.DataObject, body: bytes) -> bytes:
    """A body that was cut, or in which a few bytes were replaced, removed or repeated."""
    start = data.draw(st.integers(0, len(body)))
    end = data.draw(st.integers(start, min(len(body), start + 8)))
    middle = data.draw(st.sampled_from([b"", b"9" * 400, b"-1", b"null", b"NaN", b'"', b"}", b"1e999", b"\x00\xff"]))
    return body[:start] + middle + (b"" if data.draw(st.booleans()) else body[end:])


def matches(route: Route, request: HttpRequest) -> bool:
    """Whether a request has a route's method and path."""
    pattern = "".join("[^/]+" if part[:1] == "{" else re.escape(part) for part in re.split(r"(\{\w+\})", route.path))
    return route.method == request.method and re.fullmatch(pattern, request.target.partition("?")[0]) is not None
