"""Vertex AI's predict, with the bytes of google-cloud-aiplatform and of services."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from oracles.answers import Labels, Scores, TopK, encode
from oracles.wire.contract import HttpReply, HttpRequest, Interface, Problem
from oracles.wire.pictures import to_base64
from oracles.wire.vertex import Vertex
from tests.oracles.wire.contract import WireContract

NET = Interface("123", (3, 2, 2), ("a", "b", "c"), max_batch=4, places={"project": "p", "location": "eu"})
WIRE = Vertex()


class TestVertex(WireContract):
    wire = WIRE


def request(body: dict[str, Any], **headers: str) -> HttpRequest:
    """As captured: pretty-printed JSON, and the query of google-api-core."""
    target = "/v1/projects/p/locations/eu/endpoints/123:predict?%24alt=json%3Benum-encoding%3Dint"
    return HttpRequest("POST", target, headers, json.dumps(body, indent=2).encode())


def instance() -> dict[str, str]:
    return {"content": to_base64(np.full((3, 2, 2), 0.2, np.float32))}


def test_the_clients_options_are_read_and_obeyed() -> None:
    options = {"confidenceThreshold": 0.3, "maxPredictions": 2.0}
    question = WIRE.read(request({"instances": [instance()], "parameters": options}), NET)
    assert (question.top, question.minimum) == (2, 0.3)
    reply = WIRE.answer(question, Scores(np.array([[0.25, 0.5, 0.25]], np.float32)), NET)
    said = json.loads(reply.body)
    assert said["predictions"] == [{"ids": ["1"], "displayNames": ["b"], "confidences": [0.5]}]
    assert said["model"] == "projects/p/locations/eu/models/123"


def test_the_key_is_a_header_of_googles_or_a_bearer_token() -> None:
    assert WIRE.credential(request({}, **{"x-goog-api-key": "sk-1"})) == "sk-1"
    assert WIRE.credential(request({}, authorization="Bearer sk-2")) == "sk-2"
    assert WIRE.credential(request({}, authorization="Bearer ")) is None
    assert WIRE.ask(np.zeros((1, 3, 2, 2), np.float32), NET, "sk-3").headers["x-goog-api-key"] == "sk-3"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"instances": [instance()] * 5}, "too_large"),
        ({"instances": []}, "bad_request"),
        ({"instances": [{"gcsUri": "gs://b/o"}]}, "unsupported"),
        ({"instances": [{"content": "%"}]}, "bad_request"),
        ({"instances": [{"content": "aGVsbG8="}]}, "invalid_images"),
        ({"instances": [instance()], "parameters": {"maxPredictions": 0}}, "bad_request"),
        ({"instances": [instance()], "parameters": {"maxPredictions": 1.5}}, "bad_request"),
        ({"instances": [instance()], "parameters": {"maxPredictions": True}}, "bad_request"),
        ({"instances": [instance()], "parameters": {"confidenceThreshold": 1.5}}, "bad_request"),
    ],
)
def test_what_cannot_be_asked_is_refused(body: dict[str, Any], kind: str) -> None:
    with pytest.raises(Problem) as raised:
        WIRE.read(request(body), NET)
    assert raised.value.kind == kind


def test_predictions_of_services_are_understood() -> None:
    def understood(*predictions: Any) -> Any:
        body = json.dumps({"predictions": predictions, "deployedModelId": "7"}).encode()
        return WIRE.understand(HttpReply(200, {}, body), len(predictions), NET)

    top = understood({"ids": ["9", "8"], "displayNames": ["c", "a"], "confidences": [0.5, 0.25]})
    assert encode(top) == encode(TopK(np.array([[2, 0]], np.int32), np.array([[0.5, 0.25]], np.float32), 3, top.floor))
    custom = understood([0.5, 0.25, 0.25], [0.0, 1.0, 0.0])
    assert encode(custom) == encode(Scores(np.array([[0.5, 0.25, 0.25], [0, 1, 0]], np.float32)))
    assert encode(understood({"displayNames": ["b"]})) == encode(Labels(np.array([1], np.int32), 3))
    for wrong in ([0.5, 0.5], {"displayNames": ["x"], "confidences": [1]}, {"displayNames": ["a"], "confidences": []}):
        with pytest.raises(Problem):
            understood(wrong)


def test_a_label_has_no_confidence() -> None:
    question = WIRE.read(request({"instances": [instance()]}), NET)
    said = json.loads(WIRE.answer(question, Labels(np.array([2], np.int32), 3), NET).body)
    assert said["predictions"] == [{"ids": ["2"], "displayNames": ["c"]}]


def test_refusals_are_googles() -> None:
    body = json.loads(WIRE.refusal(Problem("rate", "slow down", 2.5)).body)["error"]
    assert (body["code"], body["status"], body["message"]) == (429, "RESOURCE_EXHAUSTED", "slow down")
    assert WIRE.problem(WIRE.refusal(Problem("budget", "no", remaining=3))).remaining == 3
    foreign = b'{"error": {"code": 429, "message": "Quota exceeded", "status": "RESOURCE_EXHAUSTED"}}'
    told = WIRE.problem(HttpReply(429, {"retry-after": "4"}, foreign))
    assert (told.kind, told.message, told.retry_after) == ("rate", "Quota exceeded", 4.0)
    info = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1.5s"}, 3]
    for value in ({"error": {"details": info}}, [{"error": {"details": info}}]):
        assert WIRE.problem(HttpReply(429, {}, json.dumps(value).encode())).retry_after == 1.5


def test_the_endpoint_says_its_name_before_the_first_call() -> None:
    said = json.loads(WIRE.describe(HttpRequest("GET", "/v1/projects/p/locations/eu/endpoints/123"), NET).body)
    assert said["name"] == "projects/p/locations/eu/endpoints/123"
