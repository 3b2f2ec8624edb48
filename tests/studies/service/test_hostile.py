"""Requests that mean harm: each is refused in the format of its path, costs nothing, and the service lives on."""

from __future__ import annotations

import base64
import gzip
import json
import logging
import struct
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.types import Message

from oracles.wire import registry
from oracles.wire.contract import HttpReply, HttpRequest, Wire
from studies.service.app import Limits
from studies.service.logs import Redacting, without_secrets
from tests.studies.service.served import Provider, provider, question

each_format = pytest.mark.parametrize("wire", [registry.wire(name) for name in registry.NAMES], ids=registry.NAMES)
OIP, HF = registry.wire("oip"), registry.wire("hf")
ARN = "arn:aws:rekognition:us-east-1:000000000000:project/m/version/m/1"
CUSTOM_VISION = "/customvision/v3.1/prediction/p/classify/iterations/m/url"


def lives_on(service: Provider) -> bool:
    return service.send(question(OIP, service.key())).status == 200


def exchanged(service: Provider, request: HttpRequest, messages: Iterable[Message]) -> list[Message]:
    """What the application sends where the body comes as these messages, and then nothing."""
    sent: list[Message] = []
    waiting = list(messages)

    async def receive() -> Message:
        if waiting:
            return waiting.pop(0)
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(name.encode(), value.encode()) for name, value in {"host": "testserver", **request.headers}.items()]
    path = request.target.partition("?")[0]
    scope: dict[str, Any] = {"type": "http", "method": request.method, "path": path, "raw_path": path.encode()}
    scope |= {"query_string": b"", "headers": headers, "http_version": "1.1", "scheme": "http", "root_path": ""}
    with ThreadPoolExecutor(1) as pool:  # a browser's test may have left a loop in this thread
        pool.submit(anyio.run, service.client.app, scope, receive, send).result()
    return sent


@each_format
def test_a_gzip_bomb_is_never_unpacked(wire: Wire, service: Provider) -> None:
    bomb = gzip.compress(b"0" * 50_000_000)
    request = replace(question(wire, service.key()), body=bomb)
    request = replace(request, headers={**request.headers, "content-encoding": "gzip"})
    reply = service.send(request)
    assert wire.problem(reply).kind in ("too_large", "unauthorized")  # AWS signs the body
    assert service.oracle.images_seen == 0
    assert lives_on(service)


@each_format
def test_a_body_over_the_limit_is_refused_by_its_length(wire: Wire, service: Provider) -> None:
    head = replace(question(wire, service.key()), body=b"")
    stated = replace(head, headers={**head.headers, "content-length": "999999999999"})
    (start, body) = exchanged(service, stated, [])  # nothing is waited for
    assert wire.problem(HttpReply(start["status"], {}, body["body"])).kind == "too_large"
    parts = [{"type": "http.request", "body": b"x" * 10_000_000, "more_body": True}] * 3
    (start, body) = exchanged(service, replace(head, headers={**head.headers, "content-length": "5"}), parts)
    assert wire.problem(HttpReply(start["status"], {}, body["body"])).kind == "too_large"


def picture_that_claims(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(9000, 9000), (2**31 - 1, 2**31 - 1), (4, 5)])
def test_a_picture_bomb_is_refused_by_its_size(size: tuple[int, int], service: Provider) -> None:
    headers = {"authorization": f"Bearer {service.key().text}"}
    reply = service.send(HttpRequest("POST", "/models/m", headers, picture_that_claims(*size)))
    assert (reply.status, HF.problem(reply).kind) == (400, "invalid_images")
    assert lives_on(service)


@pytest.mark.parametrize(
    ("name", "target", "body"),
    [
        ("rekognition", "/", {"ProjectVersionArn": ARN, "Image": {"S3Object": {"Bucket": "b", "Name": "n"}}}),
        ("customvision", CUSTOM_VISION, {"url": "http://127.0.0.1/x.png"}),
        ("customvision", CUSTOM_VISION + "/nostore", {"Url": "file:///etc/hostname"}),
        ("vertex", "", {"instances": [{"gcsUri": "gs://bucket/x.png"}]}),
        ("clarifai", "", {"inputs": [{"data": {"image": {"url": "http://127.0.0.1/x.png"}}}]}),
        ("hf", "", {"inputs": "http://127.0.0.1/x.png"}),
    ],
)
def test_nothing_is_fetched(name: str, target: str, body: dict[str, Any], service: Provider) -> None:
    """No test here may connect (tests/conftest.py), so that a fetch would fail this one."""
    wire = registry.wire(name)
    request = question(wire, service.key(), body=body)
    reply = service.send(replace(request, target=target or request.target))
    assert 400 <= reply.status < 500
    assert wire.problem(reply).kind in ("unsupported", "bad_request")
    assert lives_on(service)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "testserver.evil", "testserver@evil"])
def test_another_host_is_refused(host: str, service: Provider) -> None:
    for path in ("/health", "/v2/models/m", "/"):
        assert service.client.get(path, headers={"host": host}).status_code == 400


def test_no_other_page_may_read_the_replies(service: Provider) -> None:
    asked = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    replies = [
        service.client.options("/v2/models/m/infer", headers=asked),
        service.client.get("/health", headers=asked),
    ]
    assert replies[0].status_code == 405
    for reply in replies:
        assert not [name for name in reply.headers if name.startswith("access-control")]
        assert reply.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v2/nothing", "oip"),
        ("/v2/models/m/infer/", "oip"),
        ("/v2/users/u/nothing", "clarifai"),
        ("/models/a/b", "hf"),
        ("/v1/projects/p", "vertex"),
        ("/customvision/v3.1/x", "customvision"),
        ("/nothing", None),
        ("/metrics/", None),
        ("/v2/models/%2e%2e%2f%2e%2e%2fetc%2fpasswd/infer", "oip"),
    ],
)
def test_a_path_that_is_nowhere(path: str, name: str | None, service: Provider) -> None:
    reply = service.client.post(path, content=b"x")
    assert reply.status_code == 404
    if name is None:
        assert "openapi" in reply.json()["error"]
    else:
        lower = {key.lower(): value for key, value in reply.headers.items()}
        assert registry.wire(name).problem(HttpReply(404, lower, reply.content)).kind == "unknown_model"


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("DELETE", "/models/m", "GET, HEAD, POST"),
        ("GET", "/v2/models/m/infer", "POST"),
        ("POST", "/metrics", "GET, HEAD"),
        ("PUT", "/", "POST"),
    ],
)
def test_a_method_that_a_path_has_not(method: str, path: str, allow: str, service: Provider) -> None:
    reply = service.client.request(method, path)
    assert (reply.status_code, reply.headers["allow"]) == (405, allow)
    use = " or ".join(word for word in allow.split(", ") if word != "HEAD")
    assert f"{method} is not possible at this path; use {use}" in reply.text
    assert reply.headers["content-type"].startswith("application/json")


def test_a_slow_body_is_not_waited_for(tmp_path: Path) -> None:
    with provider(tmp_path, limits=Limits(body_seconds=0.05, hosts=("testserver",))) as service:
        request = replace(question(OIP, service.key()), body=b"")
        start, body = exchanged(service, request, [{"type": "http.request", "body": b"{", "more_body": True}])
        assert (start["status"], (b"connection", b"close") in start["headers"]) == (408, True)
        assert OIP.problem(HttpReply(408, {}, body["body"])).kind == "unavailable"
        assert lives_on(service)


def test_a_client_that_leaves_within_its_body_asked_nothing(service: Provider) -> None:
    messages: list[Message] = [
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.disconnect"},
    ]
    exchanged(service, question(OIP, service.key()), messages)
    assert service.oracle.images_seen == 0


def test_a_client_that_leaves_after_its_question_is_charged_and_can_fetch_the_answer(service: Provider) -> None:
    key = service.key(budget=5)
    request = question(OIP, key)
    sent = replace(request, headers={**request.headers, "idempotency-key": "k"})
    messages: list[Message] = [
        {"type": "http.request", "body": request.body, "more_body": False},
        {"type": "http.disconnect"},
    ]
    _, lost = exchanged(service, sent, messages)
    again = service.send(sent)
    assert (again.body, again.headers["simkit-charged"]) == (lost["body"], "0")
    assert (again.headers["simkit-remaining"], service.oracle.images_seen) == ("4", 1)


DEEP = b"[" * 100_000
BODIES = [
    b"",
    b"{",
    b"null",
    b"[]",
    b"0",
    b'"x"',
    DEEP,
    b'{"inputs": ' + DEEP,
    b"\x00" * 1000,
    b"\xff\xfe",
    b'{"a": NaN}',
]


@each_format
def test_no_body_is_an_error_of_the_service(wire: Wire, service: Provider) -> None:
    key = service.key()
    request = question(wire, key)
    target = {} if wire.name != "rekognition" else {"x-amz-target": "RekognitionService.DetectCustomLabels"}
    for body in BODIES:
        for kind in ("application/json", "multipart/form-data; boundary=x", "multipart/form-data", "\x80", ""):
            reply = service.send(
                replace(request, body=body, headers={**request.headers, "content-type": kind, **target})
            )
            assert 400 <= reply.status < 500, (body[:20], kind)
            assert b"Traceback" not in reply.body
    assert service.oracle.images_seen == 0


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "9" * 400, "²", ""])
def test_lengths_of_the_head_are_checked(length: str, service: Provider) -> None:
    request = question(OIP, service.key())
    headers = {**request.headers, "inference-header-content-length": length.encode().decode("latin-1")}
    assert service.send(replace(request, headers=headers)).status == 400


def keys_in_headers(text: str) -> list[dict[str, str]]:
    basic = base64.b64encode(f"user:{text}".encode()).decode()
    return [
        *({"authorization": f"{scheme} {text}"} for scheme in ("Bearer", "bearer", "Key", "Token", "")),
        {"authorization": f"Basic {basic}"},
        *({name: text} for name in ("prediction-key", "x-goog-api-key", "api-key", "cookie")),
    ]


@each_format
def test_no_key_is_ever_logged_or_sent_back(
    wire: Wire, service: Provider, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    key = service.key(budget=1)
    secret = key.text.split("-", 2)[2]  # it may hold a dash itself
    replies = [service.send(question(wire, key)) for _ in range(2)]
    request = replace(question(wire, None), target=question(wire, None).target + f"?key={key.text}")
    for headers in keys_in_headers(key.text):
        replies.append(service.send(replace(request, headers={**request.headers, **headers})))
        replies.append(service.send(HttpRequest("GET", f"/nothing?key={key.text}", headers)))
    monkeypatch.setattr(service.gate, "check", lambda *_, **__: None)  # the budget is spent
    monkeypatch.setattr(service.gate, "call", None)  # a fault, which is logged with its traceback
    replies.append(service.send(question(wire, key)))
    assert replies[-1].status == 500
    told = "".join(Redacting("%(message)s").format(record) for record in caplog.records)
    assert "Traceback" in told
    for text in (told, *(f"{reply.headers}{reply.body!r}" for reply in replies), service.client.get("/metrics").text):
        assert secret not in text
        assert key.aws_secret not in text
    stored = b"".join(file.read_bytes() for file in service.db.parent.iterdir() if file.is_file())
    assert secret.encode() not in stored
    assert key.aws_secret.encode() not in stored


@pytest.mark.parametrize(
    "text",
    [
        "GET /?key=sk-abcd2345-CANARY_canary-canary HTTP/1.1",
        "{'Authorization': 'Bearer CANARY'}",
        "authorization: AWS4-HMAC-SHA256 Credential=abcd2345/x, SignedHeaders=host, Signature=CANARY",
        "[(b'prediction-key', b'CANARY')]",
        "X-Goog-Api-Key=CANARY",
        "api-key: CANARY",
        "Cookie: session=CANARY; other=CANARY",
    ],
)
def test_keys_are_taken_out_of_texts(text: str) -> None:
    record = logging.LogRecord("x", logging.INFO, "f", 1, "%s", (text,), None)
    for told in (without_secrets(f"before {text}\nafter"), Redacting().format(record)):
        assert "CANARY" not in told
        assert "..." in told
    assert without_secrets(f"before {text}\nafter").endswith("\nafter")
    assert without_secrets("a call to /v2/models/m/infer failed") == "a call to /v2/models/m/infer failed"


def test_json_of_a_refusal_is_json(service: Provider) -> None:
    reply = service.send(HttpRequest("POST", "/models/m", {"authorization": 'Bearer "\x80'}, b"x"))
    assert json.loads(reply.body)["kind"] == "unauthorized"
