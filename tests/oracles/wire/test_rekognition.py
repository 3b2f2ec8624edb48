"""AWS Rekognition: known bytes, and unmodified boto3 against a service on this machine."""

from __future__ import annotations

import base64
import dataclasses
import json
from datetime import UTC, datetime

import numpy as np
import pytest

from oracles.answers import Labels, Scores
from oracles.wire.contract import HttpReply, HttpRequest, Problem, Question
from oracles.wire.pictures import to_png
from oracles.wire.rekognition import TARGET, Rekognition
from oracles.wire.sigv4 import secret_of, verify
from tests.oracles.wire.picture_formats import ABOUT, ANSWERS, IMAGES, VALUES, content
from tests.oracles.wire.served import Served, served

WIRE = Rekognition()
PNG = to_png(IMAGES[0])
ARN = "arn:aws:rekognition:us-east-1:123456789012:project/digits/version/v1/1"
BODY = (
    b'{"ProjectVersionArn": "' + ARN.encode() + b'", "Image": {"Bytes": "' + base64.b64encode(PNG) + b'"}, '
    b'"MinConfidence": 10, "MaxResults": 3}'
)
"""As boto3 1.44.8 sent it."""

HEADERS = {
    "x-amz-target": TARGET,
    "content-type": "application/x-amz-json-1.1",
    "authorization": "AWS4-HMAC-SHA256 Credential=AKID/20261129/us-east-1/rekognition/aws4_request, "
    f"SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature={'0f' * 32}",
}
REQUEST = HttpRequest("POST", "/", HEADERS, BODY)


def changed(**fields: object) -> HttpRequest:
    return dataclasses.replace(REQUEST, body=json.dumps({**json.loads(BODY), **fields}).encode())


def test_what_boto3_sends() -> None:
    question = WIRE.read(REQUEST, ABOUT)
    np.testing.assert_array_equal(question.images, IMAGES)
    assert (question.top, question.minimum) == (3, 0.1)
    assert WIRE.credential(REQUEST) == "AKID"
    assert WIRE.model_of(REQUEST) == "digits"


def test_known_reply() -> None:
    reply = WIRE.answer(Question(IMAGES, 2), ANSWERS[0], ABOUT)
    assert reply.body == b'{"CustomLabels":[{"Name":"one","Confidence":40.0},{"Name":"five","Confidence":30.0}]}'
    assert reply.headers["content-type"] == "application/x-amz-json-1.1"
    label = WIRE.answer(Question(IMAGES), ANSWERS[4], ABOUT)
    assert label.body == b'{"CustomLabels":[{"Name":"three"}]}'


@pytest.mark.parametrize(
    ("kind", "type_", "status"),
    [
        ("rate", "ThrottlingException", 400),
        ("budget", "AccessDeniedException", 400),
        ("banned", "AccessDeniedException", 400),
        ("unavailable", "ServiceUnavailableException", 503),
        ("failed", "InternalServerError", 500),
    ],
)
def test_refusals(kind: str, type_: str, status: int) -> None:
    reply = WIRE.refusal(Problem(kind, "why", 1.5))  # type: ignore[arg-type]
    body = content(reply)
    assert isinstance(body, dict)
    assert (reply.status, body["__type"], body["message"]) == (status, type_, "why")
    assert reply.headers["x-amz-retry-after"] == "1500"


@pytest.mark.parametrize(
    ("type_", "kind"),
    [
        ("com.amazonaws.rekognition#ProvisionedThroughputExceededException", "rate"),
        ("ThrottlingException:http://internal.amazon.com/", "rate"),
        ("AccessDeniedException", "unauthorized"),
        ("ResourceNotReadyException", "unavailable"),
        ("InvalidImageFormatException", "invalid_images"),
        ("SomethingNewException", "bad_request"),
        (7, "bad_request"),
    ],
)
def test_refusals_of_aws_itself(type_: object, kind: str) -> None:
    body = json.dumps({"__type": type_, "Message": "why"}).encode()
    problem = WIRE.problem(HttpReply(400, {"x-amz-retry-after": "1500"}, body))
    assert (problem.kind, problem.message, problem.retry_after) == (kind, "why", 1.5)


@pytest.mark.parametrize("text", ["", "soon", "-5", "1e3", "9" * 40, "²"])
def test_a_wait_that_cannot_be_read_is_none(text: str) -> None:
    assert WIRE.problem(HttpReply(400, {"x-amz-retry-after": text})).retry_after is None


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"Image": {"S3Object": {"Bucket": "b", "Name": "n"}}}, "unsupported"),
        ({"Image": {"S3Object": {"Bucket": "b"}, "Bytes": "aGVsbG8="}}, "unsupported"),
        ({"Image": {}}, "bad_request"),
        ({"Image": None}, "bad_request"),
        ({"Image": "x"}, "bad_request"),
        ({"MaxResults": 0}, "bad_request"),
        ({"MaxResults": 1.5}, "bad_request"),
        ({"MinConfidence": 101}, "bad_request"),
        ({"MinConfidence": "10"}, "bad_request"),
        ({"MinConfidence": True}, "bad_request"),
        ({"ProjectVersionArn": ARN.replace("digits", "other")}, "unknown_model"),
        ({"ProjectVersionArn": "digits"}, "bad_request"),
        ({"ProjectVersionArn": ARN + "\n"}, "bad_request"),
        ({"ProjectVersionArn": 3}, "bad_request"),
    ],
)
def test_hostile_fields_are_refused(fields: dict[str, object], kind: str) -> None:
    with pytest.raises(Problem) as caught:
        WIRE.read(changed(**fields), ABOUT)
    assert caught.value.kind == kind


def test_another_operation_is_refused() -> None:
    other = dataclasses.replace(REQUEST, headers={**HEADERS, "x-amz-target": "RekognitionService.DeleteProject"})
    for call in (WIRE.model_of, lambda request: WIRE.read(request, ABOUT)):
        with pytest.raises(Problem, match="DeleteProject"):
            call(other)


def test_what_the_caller_signs_is_verified() -> None:
    now = datetime(2026, 11, 29, 19, 42, tzinfo=UTC)
    signed = WIRE.sign(WIRE.ask(IMAGES, ABOUT, None), "h:80", "AKID:SECRET", now)
    verify(signed, "SECRET", now)
    assert WIRE.credential(signed) == "AKID"
    for form in ("", "AKID", ":SECRET", "AKID:"):
        with pytest.raises(Problem, match="KEY_ID:SECRET"):
            WIRE.sign(signed, "h:80", form, now)


@pytest.mark.process
def test_unmodified_boto3() -> None:
    boto3 = pytest.importorskip("boto3", reason="boto3 is not installed")
    secret = secret_of(b"server", "AKID")
    service = Served(WIRE, ABOUT, lambda request: verify(request, secret, datetime.now(UTC)))
    keys = {"aws_access_key_id": "AKID", "aws_secret_access_key": secret, "region_name": "us-east-1"}
    with served(service) as url:
        client = boto3.client("rekognition", endpoint_url=url, **keys)
        service.answers = Scores(VALUES)
        labels = client.detect_custom_labels(ProjectVersionArn=ARN, Image={"Bytes": PNG}, MaxResults=2)["CustomLabels"]
        assert labels == [{"Name": "one", "Confidence": 40.0}, {"Name": "five", "Confidence": 30.0}]
        service.answers = Labels(np.array([3], np.int32), 6)
        asked = {"ProjectVersionArn": ARN, "Image": {"Bytes": PNG}, "MinConfidence": 30}
        assert client.detect_custom_labels(**asked)["CustomLabels"] == [{"Name": "three"}]
        service.answers = Problem("budget", "nothing is left", remaining=0)
        with pytest.raises(client.exceptions.AccessDeniedException, match="nothing is left"):
            client.detect_custom_labels(**asked)
        assert len(service.questions) == 3  # not retried
        service.answers = Problem("rate", "slow down", 0.01)
        with pytest.raises(client.exceptions.ThrottlingException, match="slow down"):
            client.detect_custom_labels(**asked)
        assert len(service.questions) == 6  # three tries
        impostor = boto3.client("rekognition", endpoint_url=url, **{**keys, "aws_secret_access_key": "other"})
        with pytest.raises(impostor.exceptions.ClientError, match="InvalidSignatureException"):
            impostor.detect_custom_labels(**asked)
    assert [question.minimum for question in service.questions][:2] == [0.0, 0.3]
    for question in service.questions:
        np.testing.assert_array_equal(question.images, IMAGES)
