"""Google Vertex AI's predict for image classification, as google-cloud-aiplatform speaks it over REST.

A request is {"instances": [{"content": base64}, ...], "parameters": {"confidenceThreshold", "maxPredictions"}}; the
answer is {"predictions": [{"ids", "displayNames", "confidences"}, ...]}, lists in the same order. Source: the schemas
ImageClassificationPredictionParams and ClassificationPredictionResult of the API, and the client 2.7.0. A label-only
answer has no `confidences`. Kinds of problems are the `reason` of an ErrorInfo, waits are a RetryInfo, both of
google.rpc.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
from pydantic_core import to_json

from oracles.answers import Answer, FloatArray
from oracles.wire.bodies import (
    MOST_WAIT,
    json_reply,
    member,
    parsed_object,
    picture_bytes,
    retry_header,
    said,
    unpacked,
)
from oracles.wire.contract import HttpReply, HttpRequest, Interface, Kind, Problem, Question, Route
from oracles.wire.pictures import from_base64, to_base64
from oracles.wire.replies import reply_value, stated, stated_problem
from oracles.wire.scores import Row, answer_header, answer_of, limited, rows_of

DEFAULT_TOP = 10
"""Classes in an answer where the caller names no number."""

MOST_TOP = 1 << 20

_STATUS: dict[Kind, tuple[int, str]] = {
    "bad_request": (400, "INVALID_ARGUMENT"),
    "invalid_images": (400, "INVALID_ARGUMENT"),
    "too_large": (400, "INVALID_ARGUMENT"),
    "unsupported": (400, "INVALID_ARGUMENT"),
    "unauthorized": (401, "UNAUTHENTICATED"),
    "expired": (401, "UNAUTHENTICATED"),
    "unknown_model": (404, "NOT_FOUND"),
    "rate": (429, "RESOURCE_EXHAUSTED"),
    "near_duplicate": (403, "PERMISSION_DENIED"),
    "budget": (403, "PERMISSION_DENIED"),
    "banned": (403, "PERMISSION_DENIED"),
    "key_reused": (400, "FAILED_PRECONDITION"),
    "in_progress": (409, "ABORTED"),
    "unavailable": (503, "UNAVAILABLE"),
    "failed": (500, "INTERNAL"),
}

_ENDPOINT = "/v1/projects/{project}/locations/{location}/endpoints/{model}"


class Vertex:
    """Pictures, several a call. Places: `project` and `location`; the endpoint is the model's name."""

    name = "vertex"
    pictures = True
    most = None
    routes = (Route("POST", f"{_ENDPOINT}:predict"), Route("GET", _ENDPOINT, "describe"))

    def credential(self, request: HttpRequest) -> str | None:
        """An API key, or a bearer token."""
        key = request.headers.get("x-goog-api-key", "").strip()
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return key or (token.strip() or None if scheme.lower() == "bearer" else None)

    def read(self, request: HttpRequest, interface: Interface) -> Question:
        """See `Wire.read`."""
        fields = parsed_object(unpacked(request, picture_bytes(interface)).body, 100 + 10 * interface.max_batch)
        instances = member(fields, "instances", list, [])
        if not instances:
            raise Problem("bad_request", '`instances` must be a list of {"content": base64 of a picture}')
        if len(instances) > interface.max_batch:
            raise Problem("too_large", f"the call has {len(instances)} instances; send {interface.max_batch} at most")
        options = member(fields, "parameters", dict, {})
        top = member(options, "maxPredictions", float, DEFAULT_TOP)
        minimum = member(options, "confidenceThreshold", float, 0.0)
        if not (0.0 <= minimum <= 1.0 and 1 <= top <= MOST_TOP and top == int(top)):
            raise Problem("bad_request", "confidenceThreshold must be in [0, 1] and maxPredictions 1 or more")
        pictures = [_picture(instance, interface) for instance in instances]
        return Question(np.stack(pictures), int(top), float(minimum))

    def answer(self, question: Question, answer: Answer, interface: Interface) -> HttpReply:
        """See `Wire.answer`. The id of a class is its number as text."""
        answer = limited(answer, question)
        ids = {name: str(id) for id, name in enumerate(interface.classes)}
        body = {
            "predictions": [_prediction(row, ids) for row in rows_of(answer, interface)],
            "deployedModelId": interface.model,
            "model": f"{_path(interface).rpartition('/endpoints/')[0][4:]}/models/{interface.model}",
            "modelDisplayName": interface.model,
            "modelVersionId": "1",
        }
        return json_reply(body, headers=answer_header(answer))

    def refusal(self, problem: Problem) -> HttpReply:
        """See `Wire.refusal`; a google.rpc.Status, and beside it what simkit's own client reads."""
        code, status = _STATUS[problem.kind]
        error = {"code": code, "message": problem.message, "status": status}
        return json_reply({"error": error, **stated(problem)}, code, retry_header(problem))

    def describe(self, request: HttpRequest, interface: Interface) -> HttpReply:
        """The endpoint, as the client reads it before its first call."""
        name = _path(interface)[4:]
        return json_reply({"name": name, "displayName": interface.model, "deployedModels": [{"id": interface.model}]})

    def ask(self, images: FloatArray, interface: Interface, credential: str | None) -> HttpRequest:
        """See `Wire.ask`; asks for every class."""
        instances = [{"content": to_base64(image)} for image in images]
        body = {"instances": instances, "parameters": {"maxPredictions": len(interface.classes)}}
        headers = {"content-type": "application/json"}
        if credential is not None:
            headers["x-goog-api-key"] = credential
        return HttpRequest("POST", f"{_path(interface)}:predict", headers, to_json(body))

    def understand(self, reply: HttpReply, images: int, interface: Interface) -> Answer:
        """See `Wire.understand`; reads also lists of scores of all classes, as custom models answer them."""
        value = reply_value(reply, interface, images)
        predictions = value.get("predictions") if isinstance(value, dict) else None
        if not isinstance(predictions, list) or len(predictions) != images:
            raise Problem("failed", f"the service's answer has no list `predictions` of {images} images")
        return answer_of([_row(prediction, interface) for prediction in predictions], reply, interface)

    def problem(self, reply: HttpReply) -> Problem:
        """See `Wire.problem`."""
        problem = stated_problem(reply)
        for detail in _details(said(reply)):
            if problem.retry_after is None and str(detail.get("@type")).endswith("RetryInfo"):
                problem.retry_after = _seconds(detail.get("retryDelay"))
        return problem


def _path(interface: Interface) -> str:
    project, location = interface.places.get("project", "simkit"), interface.places.get("location", "local")
    return _ENDPOINT.format(
        project=quote(project, safe=""), location=quote(location, safe=""), model=quote(interface.model, safe="")
    )


def _picture(instance: object, interface: Interface) -> FloatArray:
    if not isinstance(instance, dict):
        raise Problem("bad_request", 'an instance must be {"content": base64 of a picture}')
    if "gcsUri" in instance:
        raise Problem("unsupported", "this service fetches nothing; send the picture itself as `content`")
    return from_base64(instance.get("content"), interface.image_shape, "content")


def _prediction(row: Row, ids: Mapping[str, str]) -> dict[str, list[Any]]:
    entry: dict[str, list[Any]] = {"ids": [ids[name] for name, _ in row], "displayNames": [name for name, _ in row]}
    scores = [score for _, score in row if score is not None]
    return {**entry, "confidences": scores} if scores or not row else entry


def _row(prediction: object, interface: Interface) -> Row:
    if isinstance(prediction, list):
        return _paired(interface.classes, prediction)
    names = prediction.get("displayNames") if isinstance(prediction, dict) else None
    if not isinstance(prediction, dict) or not isinstance(names, list):
        raise Problem("failed", "a prediction of the service has neither `displayNames` nor a list of scores")
    scores = prediction.get("confidences")
    return _paired(names, [None] * len(names) if scores is None else scores)


def _paired(names: Sequence[object], scores: object) -> Row:
    if not isinstance(scores, list) or len(scores) != len(names):
        raise Problem("failed", f"a prediction of the service has {len(names)} classes and another number of scores")
    row: list[tuple[str, float | None]] = []
    for name, score in zip(names, scores, strict=True):
        if not isinstance(name, str) or isinstance(score, bool) or not isinstance(score, int | float | None):
            raise Problem(
                "failed", "a prediction of the service has names that are no text or scores that are no number"
            )
        row.append((name, score))
    return row


def _details(value: object) -> Iterable[Mapping[str, Any]]:
    """The details of a google.rpc.Status; some services wrap it into a list."""
    if isinstance(value, list):
        value = value[0] if value else None
    error = value.get("error") if isinstance(value, dict) else None
    details = error.get("details") if isinstance(error, dict) else None
    return [entry for entry in details if isinstance(entry, dict)] if isinstance(details, list) else []


def _seconds(text: object) -> float | None:
    found = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)s", text) if isinstance(text, str) else None
    return None if found is None else min(float(found[1]), MOST_WAIT)
