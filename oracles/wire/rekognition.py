"""AWS Rekognition Custom Labels: DetectCustomLabels in the JSON protocol 1.1, as boto3 sends it.

Every call is `POST /` with the header `x-amz-target`; the model is the project in the body's ProjectVersionArn, and
scores are percentages. Source: botocore 1.44.8, data/rekognition. Refusals are statuses of 400 with a `__type`; boto3
retries ThrottlingException and obeys `x-amz-retry-after`, in milliseconds.
"""

from __future__ import annotations

import math
import re
from datetime import datetime
from typing import Any

from pydantic_core import to_json

from oracles.answers import Answer, FloatArray
from oracles.wire.bodies import MOST_WAIT, member, parsed_object, said
from oracles.wire.contract import HttpReply, HttpRequest, Interface, Kind, Problem, Question, Route
from oracles.wire.pictures import from_base64, to_base64
from oracles.wire.replies import reply_value, stated, stated_problem
from oracles.wire.scores import answer_header, answer_of, entries_of, limited, row_of, rows_of
from oracles.wire.sigv4 import Credential, Scope, key_id_of, signed

TARGET = "RekognitionService.DetectCustomLabels"
_JSON = "application/x-amz-json-1.1"
_ARN = re.compile(
    r"arn:[a-z\d-]+:rekognition:([a-z\d-]+):\d{12}:project/([\w.-]{1,255})/version/[\w.-]{1,255}/\d+", re.ASCII
)

_TYPES: dict[Kind, str] = {
    "bad_request": "InvalidParameterException",
    "invalid_images": "InvalidImageFormatException",
    "too_large": "ImageTooLargeException",
    "unsupported": "UnknownOperationException",
    "unauthorized": "InvalidSignatureException",
    "expired": "ExpiredTokenException",
    "unknown_model": "ResourceNotFoundException",
    "rate": "ThrottlingException",
    "near_duplicate": "ThrottlingException",
    "budget": "AccessDeniedException",
    "banned": "AccessDeniedException",
    "key_reused": "IdempotentParameterMismatchException",
    "in_progress": "ThrottlingException",
    "unavailable": "ServiceUnavailableException",
    "failed": "InternalServerError",
}
"""The budget is no LimitExceededException, which boto3 would retry."""

_STATUS: dict[Kind, int] = {"unavailable": 503, "failed": 500}

_KINDS: dict[str, Kind] = {
    **{type_: kind for kind, type_ in reversed(_TYPES.items())},
    "AccessDeniedException": "unauthorized",  # as AWS means it, where our own kind is not beside it
    "UnrecognizedClientException": "unauthorized",
    "MissingAuthenticationTokenException": "unauthorized",
    "ProvisionedThroughputExceededException": "rate",
    "LimitExceededException": "rate",
    "ResourceNotReadyException": "unavailable",
    "InvalidS3ObjectException": "unsupported",
    "SerializationException": "bad_request",
    "ValidationException": "bad_request",
}


class Rekognition:
    """One picture a call, signed by `sign` after `ask`, since a signature holds the host and the time.

    places: `arn`, the ProjectVersionArn that the caller names.
    """

    name = "rekognition"
    pictures = True
    most = 1
    routes = (Route("POST", "/"),)

    def model_of(self, request: HttpRequest) -> str:
        """The project that the request's ARN names, since the path names none. Raises Problem."""
        return _project(_fields(request))

    def credential(self, request: HttpRequest) -> str | None:
        return key_id_of(request)

    def read(self, request: HttpRequest, interface: Interface) -> Question:
        fields = _fields(request)
        if _project(fields) != interface.model:
            raise Problem("unknown_model", f"ProjectVersionArn names another project than {interface.model!r}")
        picture = member(fields, "Image", dict, {})
        if "S3Object" in picture:
            raise Problem("unsupported", "Image.S3Object is not fetched; send the picture itself as Image.Bytes")
        top, least = member(fields, "MaxResults", int), fields.get("MinConfidence", 0.0)
        if top is not None and top < 1:
            raise Problem("bad_request", f"MaxResults is {top}; give 1 or more")
        if isinstance(least, bool) or not isinstance(least, int | float) or not 0.0 <= least <= 100.0:
            raise Problem("bad_request", "MinConfidence must be a percentage from 0 to 100")
        image = from_base64(picture.get("Bytes"), interface.image_shape, "Image.Bytes")
        return Question(image[None], top, least / 100.0)

    def answer(self, question: Question, answer: Answer, interface: Interface) -> HttpReply:
        answer = limited(answer, question)
        (row,) = rows_of(answer, interface)
        labels = entries_of(row, "Name", "Confidence", scale=100.0)
        return _reply({"CustomLabels": [_stated_members(label) for label in labels]}, headers=answer_header(answer))

    def refusal(self, problem: Problem) -> HttpReply:
        body = {"__type": _TYPES[problem.kind], "message": problem.message, **stated(problem)}
        seconds = problem.retry_after
        wait = {} if seconds is None else {"x-amz-retry-after": str(math.ceil(1000.0 * seconds))}
        return _reply(body, _STATUS.get(problem.kind, 400), wait)

    def describe(self, request: HttpRequest, interface: Interface) -> HttpReply:
        return self.refusal(Problem("unsupported", f"there is only the operation {TARGET}"))

    def ask(self, images: FloatArray, interface: Interface, credential: str | None) -> HttpRequest:
        """The request, unsigned whatever the credential is: see `sign`."""
        (image,) = images
        arn = interface.places.get("arn") or (
            f"arn:aws:rekognition:us-east-1:000000000000:project/{interface.model}/version/{interface.model}/1"
        )
        body = {"ProjectVersionArn": arn, "Image": {"Bytes": to_base64(image)}, "MinConfidence": 0.0}
        return HttpRequest("POST", "/", {"content-type": _JSON, "x-amz-target": TARGET}, to_json(body))

    def sign(self, request: HttpRequest, host: str, credential: str, now: datetime) -> HttpRequest:
        """The request of `ask`, signed for `host`; to be signed anew for each try.

        credential: `KEY_ID:SECRET`. The region is that of the ARN. Raises Problem (`unauthorized`) on another form.
        """
        key_id, _, secret = credential.partition(":")
        if not key_id or not secret:
            raise Problem("unauthorized", "an AWS key is given as KEY_ID:SECRET")
        found = _ARN.fullmatch(str(_fields(request).get("ProjectVersionArn")))
        region = found[1] if found else "us-east-1"
        return signed(request, host, Credential(key_id, secret), Scope(region, "rekognition", now))

    def understand(self, reply: HttpReply, images: int, interface: Interface) -> Answer:
        body = reply_value(reply, interface)
        labels = body.get("CustomLabels") if isinstance(body, dict) else None
        return answer_of([row_of(labels, "Name", "Confidence", scale=100.0)], reply, interface)

    def problem(self, reply: HttpReply) -> Problem:
        body = said(reply)
        text = body.get("__type") if isinstance(body, dict) else None
        type_ = text.rpartition("#")[2].partition(":")[0] if isinstance(text, str) else ""
        problem = stated_problem(reply, _KINDS.get(type_))
        if problem.retry_after is None:
            problem.retry_after = _milliseconds(reply)
        return problem


def _fields(request: HttpRequest) -> dict[str, Any]:
    target = request.headers.get("x-amz-target", "")
    if target != TARGET:
        raise Problem("unsupported", f"the operation {target[:60]!r} is unknown; there is {TARGET}")
    return parsed_object(request.body, 100)


def _project(fields: dict[str, Any]) -> str:
    arn = _ARN.fullmatch(member(fields, "ProjectVersionArn", str, ""))
    if arn is None:
        form = "arn:aws:rekognition:REGION:ACCOUNT:project/MODEL/version/NAME/NUMBER"
        raise Problem("bad_request", f"ProjectVersionArn must have the form {form}")
    return arn[2]


def _stated_members(label: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in label.items() if value is not None}


def _milliseconds(reply: HttpReply) -> float | None:
    text = reply.headers.get("x-amz-retry-after", "")
    return min(int(text) / 1000.0, MOST_WAIT) if text.isascii() and text.isdecimal() and len(text) < 16 else None


def _reply(body: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> HttpReply:
    return HttpReply(status, {"content-type": _JSON, **(headers or {})}, to_json(body))
