"""The service over HTTP, in this process: every format, charging, retries, and what is left after each call."""

from __future__ import annotations

import gzip
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from db.check import check
from oracles.answers import Scores
from oracles.errors import ModelError
from oracles.spec import OracleSpec
from oracles.wire import registry
from oracles.wire.contract import HttpRequest, Wire
from oracles.wire.pictures import to_png
from studies.service.keys import change_key
from tests.oracles.fakes import LinearOracle
from tests.studies.service.served import ABOUT, IMAGE, Provider, images, provider, question

each_format = pytest.mark.parametrize("wire", [registry.wire(name) for name in registry.NAMES], ids=registry.NAMES)
OIP, REKOGNITION = registry.wire("oip"), registry.wire("rekognition")


def rows(service: Provider, sql: str) -> list[Any]:
    with closing(sqlite3.connect(f"file:{service.db}?mode=ro", uri=True)) as base:
        return base.execute(sql).fetchall()


def spent(service: Provider) -> int:
    return int(rows(service, "SELECT coalesce(sum(charged), 0) FROM calls")[0][0])


def reasons(service: Provider) -> list[str]:
    return [reason for (reason,) in rows(service, "SELECT reason FROM refusals ORDER BY id")]


@each_format
def test_a_question_is_answered_and_charged(wire: Wire, service: Provider) -> None:
    key = service.key(budget=10)
    reply = service.send(question(wire, key))
    answer = wire.understand(reply, 1, ABOUT)
    assert isinstance(answer, Scores)
    known = service.oracle.query(torch.from_numpy(IMAGE))
    assert isinstance(known, Scores)
    np.testing.assert_allclose(answer.values, known.values, atol=1e-6)
    assert (reply.status, reply.headers["simkit-charged"], reply.headers["simkit-remaining"]) == (200, "1", "9")
    assert spent(service) == 1


@each_format
def test_a_key_is_needed_and_must_be_right(wire: Wire, service: Provider) -> None:
    key = service.key()
    wrong = replace(key, text=key.text[:-1] + ("A" if key.text[-1] != "A" else "B"), aws_secret="x" * 40)
    unknown = replace(key, text="sk-aaaaaaaa-" + "x" * 43, key=key.key.model_copy(update={"id": "aaaaaaaa"}))
    for other in (None, wrong, unknown):
        reply = service.send(question(wire, other))
        assert wire.problem(reply).kind == "unauthorized"
        assert "simkit-remaining" not in reply.headers
    assert service.oracle.images_seen == spent(service) == 0
    assert reasons(service) == []


@pytest.mark.parametrize("content_length", [None, "999999999999"], ids=["a body", "too large a body"])
def test_the_id_of_a_key_alone_tells_nothing_of_it(content_length: str | None, service: Provider) -> None:
    key = service.key(budget=777, rate="5/hour")
    service.send(question(REKOGNITION, key))
    request = question(REKOGNITION, replace(key, aws_secret="x" * 40))
    given = {} if content_length is None else {"content_length": content_length}
    reply = service.send(request, **given)
    assert 400 <= reply.status < 500
    assert not [name for name in reply.headers if name.startswith(("simkit", "ratelimit"))]
    assert (spent(service), reasons(service)) == (1, [])


def test_a_refusal_after_the_signature_tells_what_is_left(service: Provider) -> None:
    reply = service.send(question(REKOGNITION, service.key(budget=777), body={"Image": {"Bytes": "no image"}}))
    assert (reply.status, reply.headers["simkit-remaining"]) == (400, "777")


@each_format
def test_an_exhausted_budget_says_what_is_left(wire: Wire, service: Provider) -> None:
    key = service.key(budget=1)
    assert service.send(question(wire, key)).status == 200
    reply = service.send(question(wire, key))
    problem = wire.problem(reply)
    assert (problem.kind, problem.remaining, spent(service)) == ("budget", 0, 1)
    assert (reply.headers["simkit-charged"], reply.headers["simkit-remaining"]) == ("0", "0")
    change_key(service.keys, key.key.id, lambda _: {"topped_up": 1})
    assert service.send(question(wire, key)).status == 200
    assert reasons(service) == ["budget"]


@each_format
def test_a_rate_is_refused_and_told(wire: Wire, service: Provider) -> None:
    key = service.key(rate="2/hour")
    first = service.send(question(wire, key))
    assert first.headers["ratelimit-policy"] == '"key";q=2;w=3600;qu="images"'
    assert first.headers["ratelimit"].startswith('"key";r=1;t=')
    service.send(question(wire, key))
    reply = service.send(question(wire, key))
    problem = wire.problem(reply)
    assert problem.kind == "rate"
    assert problem.retry_after is not None
    assert 0 < problem.retry_after <= 1800
    assert (spent(service), reasons(service)) == (2, ["rate"])


@each_format
def test_a_retry_is_free_and_equal(wire: Wire, service: Provider) -> None:
    key = service.key(budget=5)
    first, again = (service.send(question(wire, key), idempotency_key="call-1") for _ in range(2))
    assert first.body == again.body
    assert "idempotency-replayed" not in first.headers
    assert (again.headers["idempotency-replayed"], again.headers["simkit-charged"]) == ("true", "0")
    assert (again.headers["simkit-remaining"], spent(service), service.oracle.images_seen) == ("4", 1, 1)


@each_format
def test_an_unknown_model_and_one_that_the_key_may_not_ask(wire: Wire, service: Provider) -> None:
    for key, about in ((service.key(), replace(ABOUT, model="nothing")), (service.key(models=["other"]), ABOUT)):
        assert wire.problem(service.send(question(wire, key, about))).kind == "unknown_model"
    assert spent(service) == 0


@each_format
def test_a_failing_model_costs_nothing_and_is_not_quoted(wire: Wire, tmp_path: Path) -> None:
    with provider(tmp_path, oracle=LinearOracle(failing=True)) as service:
        reply = service.send(question(wire, service.key()))
        assert wire.problem(reply).kind == "failed"
        assert b"told to fail" not in reply.body
        assert (spent(service), reasons(service)) == (0, ["failed"])


@each_format
def test_a_body_that_cannot_be_read_is_a_refusal_of_its_key(wire: Wire, service: Provider) -> None:
    key = service.key()
    arn = "arn:aws:rekognition:us-east-1:000000000000:project/m/version/m/1"
    reply = service.send(question(wire, key, body={"ProjectVersionArn": arn}))
    assert wire.problem(reply).kind in ("bad_request", "invalid_images")
    assert (spent(service), len(reasons(service))) == (0, 1)


def test_an_aws_client_s_invocation_id_makes_a_retry_free(service: Provider) -> None:
    key, wire = service.key(), registry.wire("rekognition")
    replies = [service.send(question(wire, key), amz_sdk_invocation_id="3d1b") for _ in range(3)]
    assert [reply.headers["simkit-charged"] for reply in replies] == ["1", "0", "0"]


def test_an_idempotency_key_is_of_one_request(service: Provider) -> None:
    key = service.key()
    service.send(question(OIP, key), idempotency_key="call-1")
    reply = service.send(OIP.ask(images(2), ABOUT, key.text), idempotency_key="call-1")
    assert (reply.status, OIP.problem(reply).kind, spent(service)) == (422, "key_reused", 1)


def test_gzip_is_unpacked_and_the_same_request(service: Provider) -> None:
    plain = question(OIP, service.key())
    packed = replace(plain, body=gzip.compress(plain.body), headers={**plain.headers, "content-encoding": "gzip"})
    first, again = (service.send(request, idempotency_key="k") for request in (packed, plain))
    assert (first.status, again.headers["idempotency-replayed"], spent(service)) == (200, "true", 1)


def test_a_form_is_the_same_under_another_boundary(service: Provider) -> None:
    """As Azure's client draws one for each try."""
    wire, key = registry.wire("customvision"), service.key()
    replies = []
    for boundary in ("b1a0040fabba", '"91c2e4"'):
        line = boundary.strip('"').encode()
        part = b'Content-Disposition: form-data; name="imageData"\r\n\r\n' + to_png(IMAGE[0])
        request = replace(question(wire, key), body=b"--" + line + b"\r\n" + part + b"\r\n--" + line + b"--\r\n")
        kind = f"multipart/form-data; boundary={boundary}"
        replies.append(service.send(request, content_type=kind, idempotency_key="k"))
    assert [(reply.status, reply.headers["simkit-charged"]) for reply in replies] == [(200, "1"), (200, "0")]


def test_queries_are_put_where_they_belong(service: Provider) -> None:
    key = service.key()
    assert service.send(question(OIP, key), simkit_first_query="0").status == 200
    late = service.send(question(OIP, key), simkit_first_query="0")
    assert (late.status, OIP.problem(late).kind) == (400, "bad_request")
    assert service.send(question(OIP, key), simkit_first_query="1").status == 200
    assert service.send(question(OIP, key)).headers["simkit-first-query"] == "2"


@pytest.mark.parametrize(
    "headers",
    [
        {"simkit_first_query": "-1"},
        {"simkit_first_query": "1.0"},
        {"simkit_first_query": "9" * 16},
        {"idempotency_key": ""},
        {"idempotency_key": "a b"},
        {"idempotency_key": "x" * 256},
    ],
)
def test_headers_of_a_call_are_checked(headers: dict[str, str], service: Provider) -> None:
    reply = service.send(question(OIP, service.key()), **headers)
    assert (reply.status, spent(service)) == (400, 0)


def test_a_key_that_has_ended_is_refused_everywhere(service: Provider) -> None:
    ended = service.key(expires=datetime.now(UTC) - timedelta(days=1))
    revoked = service.key()
    change_key(service.keys, revoked.key.id, lambda _: {"revoked": True})
    for key in (ended, revoked):
        described = HttpRequest("GET", "/v2/models/m", {"authorization": f"Bearer {key.text}"})
        for request in (question(OIP, key), described):
            assert OIP.problem(service.send(request)).kind == "expired"


def test_what_is_described_needs_a_key_and_health_none(service: Provider) -> None:
    headers = {"authorization": f"Bearer {service.key().text}"}
    about = service.client.get("/v2/models/m", headers=headers).json()
    assert about["parameters"]["classes"] == list(ABOUT.classes)
    assert service.client.get("/v2/models/m").status_code == 401
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/m/ready", "/health"):
        assert service.client.get(path).status_code == 200
    assert service.client.get("/v2/models/nothing/ready").status_code == 404


def test_an_oracle_s_restrictions_are_those_of_the_answers(tmp_path: Path) -> None:
    with provider(tmp_path, OracleSpec(top_k=3)) as service:
        key = service.key(oracle=OracleSpec(top_k=1))
        for maker, named in ((service.key(), 3), (key, 1)):
            entries = service.client.post(
                "/models/m", content=question(registry.wire("hf"), maker).body, headers=bearer(maker.text)
            ).json()
            assert len(entries) == named


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}", "content-type": "application/json"}


def test_a_file_of_keys_that_breaks_stops_nothing(service: Provider, caplog: pytest.LogCaptureFixture) -> None:
    request, text = question(OIP, service.key()), service.keys.read_text()
    service.keys.write_text("secret = [")
    reply = service.send(request)
    assert (reply.status, OIP.problem(reply).kind) == (503, "unavailable")
    assert "TOML" in caplog.text
    assert b"TOML" not in reply.body
    service.keys.write_text(text)
    assert service.send(request).status == 200


def test_counts_are_told_to_prometheus(service: Provider) -> None:
    key = service.key(budget=2)
    for name in ("a", "a", "b", "c"):
        service.send(OIP.ask(images(1), ABOUT, key.text), idempotency_key=name)
    service.send(question(OIP, None))
    reply = service.client.get("/metrics")
    assert reply.headers["content-type"].startswith("text/plain")
    for line in (
        'simkit_replies_total{format="oip",model="m",outcome="answered"} 2.0',
        'simkit_replies_total{format="oip",model="m",outcome="replayed"} 1.0',
        'simkit_replies_total{format="oip",model="m",outcome="budget"} 1.0',
        'simkit_replies_total{format="oip",model="m",outcome="unauthorized"} 1.0',
        'simkit_queries_charged_total{model="m"} 2.0',
        'simkit_reply_seconds_count{format="oip"} 5.0',
        "simkit_calls_running 0.0",
    ):
        assert line in reply.text
    assert key.key.id not in reply.text


def test_the_ledger_is_sound_after_all_kinds_of_calls(tmp_path: Path) -> None:
    with provider(tmp_path) as service:
        keys = [service.key(budget=3) for _ in range(2)]
        for number in range(5):
            for key in keys:
                service.send(OIP.ask(images(1, number), ABOUT, key.text), idempotency_key=f"k{number}")
                service.send(question(registry.wire("hf"), key, replace(ABOUT, model="other")))
        assert spent(service) == 6
    assert check(service.db) == []


def test_a_fault_of_the_service_is_hidden_and_logged(
    service: Provider, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ModelError("secret of the service")

    monkeypatch.setattr(service.gate, "call", broken)
    reply = service.send(question(OIP, service.key()))
    assert (reply.status, OIP.problem(reply).kind) == (500, "failed")
    assert b"secret of the service" not in reply.body
    assert "secret of the service" in caplog.text
