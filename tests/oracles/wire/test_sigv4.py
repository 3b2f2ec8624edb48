"""AWS signatures: those of botocore, and what is refused."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles.wire.contract import HttpRequest, Problem
from oracles.wire.sigv4 import Credential, Scope, key_id_of, secret_of, signed, verify

AT = datetime(2026, 11, 29, 19, 42, 0, tzinfo=UTC)
BODY = b'{"MaxResults": 3}'
HEADERS = {"content-type": "application/x-amz-json-1.1", "x-amz-target": "RekognitionService.DetectCustomLabels"}
REQUEST = HttpRequest("POST", "/", HEADERS, BODY)
SCOPE = Scope("us-east-1", "rekognition", AT)
SIGNED = signed(REQUEST, "127.0.0.1:8000", Credential("AKID", "SECRET"), SCOPE)

SIGNATURE = "869b185a69fe6aec297aca6ffb77ab440da5c91d7ee206602070b927742ffeb2"
"""What botocore 1.44.8 computes for SIGNED."""


def refused(request: HttpRequest, secret: str = "SECRET", now: datetime = AT) -> Problem:
    with pytest.raises(Problem) as caught:
        verify(request, secret, now)
    assert caught.value.kind == "unauthorized"
    return caught.value


def with_header(name: str, value: str) -> HttpRequest:
    return dataclasses.replace(SIGNED, headers={**SIGNED.headers, name: value})


def test_a_known_signature() -> None:
    names = "content-type;host;x-amz-date;x-amz-target"
    assert SIGNED.headers["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKID/20261129/us-east-1/rekognition/aws4_request, "
        f"SignedHeaders={names}, Signature={SIGNATURE}"
    )
    assert SIGNED.headers["x-amz-date"] == "20261129T194200Z"
    assert key_id_of(SIGNED) == "AKID"
    verify(SIGNED, "SECRET", AT)


@settings(deadline=None)  # the first example imports botocore
@given(body=st.binary(max_size=50), secret=st.text("abc/+=", min_size=1), region=st.sampled_from(["us-east-1", "eu-x"]))
def test_botocore_signs_alike(body: bytes, secret: str, region: str) -> None:
    auth = pytest.importorskip("botocore.auth", reason="botocore is not installed")
    request = pytest.importorskip("botocore.awsrequest").AWSRequest("POST", "http://h:80/", dict(HEADERS), body)
    request.headers["Host"] = "h:80"
    credentials = pytest.importorskip("botocore.credentials").Credentials("AKID", secret)
    auth.SigV4Auth(credentials, "rekognition", region).add_auth(request)
    sent = HttpRequest("POST", "/", {name.lower(): value for name, value in request.headers.items()}, body)
    at = datetime.strptime(sent.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    verify(sent, secret, at)
    ours = signed(
        HttpRequest("POST", "/", HEADERS, body), "h:80", Credential("AKID", secret), Scope(region, "rekognition", at)
    )
    assert ours.headers["authorization"] == sent.headers["authorization"]


@pytest.mark.parametrize("seconds", [-301, 301, 86_400, -(10**9)])
def test_an_old_or_early_date_is_refused(seconds: int) -> None:
    assert "300 s" in refused(SIGNED, now=AT + timedelta(seconds=seconds)).message
    verify(SIGNED, "SECRET", AT + timedelta(seconds=299 if seconds > 0 else -299))


def test_another_secret_body_or_header_is_refused() -> None:
    assert "does not match" in refused(SIGNED, "OTHER").message
    assert "does not match" in refused(dataclasses.replace(SIGNED, body=BODY + b" ")).message
    assert "does not match" in refused(with_header("x-amz-target", "RekognitionService.DetectLabels")).message
    assert "does not match" in refused(with_header("host", "elsewhere")).message
    refused(with_header("x-amz-date", "20261129T194201Z"))
    verify(with_header("x-added-on-the-way", "1"), "SECRET", AT)


@pytest.mark.parametrize("name", ["host", "x-amz-date", "x-amz-target"])
def test_what_matters_must_be_signed(name: str) -> None:
    names = "content-type;host;x-amz-date;x-amz-target"
    fewer = SIGNED.headers["authorization"].replace(names, names.replace(name, "").replace(";;", ";").strip(";"))
    assert name in refused(with_header("authorization", fewer)).message


@pytest.mark.parametrize("target", ["/other", "/?a=1", "*", ""])
def test_only_the_root_can_be_signed(target: str) -> None:
    assert "POST /" in refused(dataclasses.replace(SIGNED, target=target)).message
    assert "POST /" in refused(dataclasses.replace(SIGNED, method="GET")).message


@pytest.mark.parametrize(
    "date", ["", "yesterday", "20261129T194200", "20261129", "99991399T999999Z", "20261128T194200Z"]
)
def test_a_date_that_is_none_or_another_day_is_refused(date: str) -> None:
    assert refused(with_header("x-amz-date", date)).kind == "unauthorized"


@given(st.text(st.characters(max_codepoint=255), max_size=200))
def test_no_authorization_header_raises_anything_but_problem(text: str) -> None:
    for header in (text, SIGNED.headers["authorization"][: len(text)] + text):
        request = with_header("authorization", header)
        key_id_of(request)
        if header != SIGNED.headers["authorization"]:
            refused(request)


def test_secrets_belong_to_key_ids_and_are_not_shown() -> None:
    secret = secret_of(b"server", "AKID")
    assert (len(secret), secret == secret_of(b"server", "AKID")) == (64, True)
    assert len({secret, secret_of(b"server", "AKIE"), secret_of(b"other", "AKID")}) == 3
    assert "SECRET" not in repr(Credential("AKID", "SECRET"))
