"""Hugging Face: known bytes, and the unmodified client against a service on this machine."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from oracles.answers import Labels, Scores
from oracles.wire.contract import HttpReply, HttpRequest, Problem, Question
from oracles.wire.huggingface import HuggingFace
from oracles.wire.pictures import to_png
from tests.oracles.wire.picture_formats import ABOUT, ANSWERS, IMAGES, VALUES, content
from tests.oracles.wire.served import Served, served

WIRE = HuggingFace()
PNG = to_png(IMAGES[0])
JSON = {"content-type": "application/json"}


def test_the_raw_picture_that_the_client_sends_without_a_content_type() -> None:
    headers = {"authorization": "Bearer hf_x", "accept": "*/*", "x-amzn-trace-id": "873bec43"}
    request = HttpRequest("POST", "/models/digits", headers, PNG)
    question = WIRE.read(request, ABOUT)
    np.testing.assert_array_equal(question.images, IMAGES)
    assert (question.top, WIRE.credential(request)) == (5, "hf_x")


def test_the_json_that_the_client_sends_with_parameters() -> None:
    body = b'{"inputs": "' + base64.b64encode(PNG) + b'", "parameters": {"top_k": 2}}'
    question = WIRE.read(HttpRequest("POST", "/models/digits", JSON, body), ABOUT)
    np.testing.assert_array_equal(question.images, IMAGES)
    assert question.top == 2


def test_known_reply() -> None:
    reply = WIRE.answer(Question(IMAGES, 2), ANSWERS[0], ABOUT)
    assert reply.body == b'[{"label":"one","score":0.4},{"label":"five","score":0.3}]'
    assert reply.headers["content-type"] == "application/json"


def test_replies_of_others_are_understood() -> None:
    of_images = HttpReply(200, {}, b'[[{"label": "one", "score": 0.4}, {"label": "two", "score": 0.1}]]')
    assert len(WIRE.understand(of_images, 1, ABOUT)) == 1
    loading = WIRE.problem(HttpReply(503, {}, b'{"error": "Model is loading", "estimated_time": 20.5}'))
    assert (loading.kind, loading.message, loading.retry_after) == ("unavailable", "Model is loading", 20.5)


def test_refusals() -> None:
    reply = WIRE.refusal(Problem("rate", "slow down", 6.2))
    assert (reply.status, reply.headers["retry-after"], reply.headers["ratelimit"]) == (429, "7", '"api";r=0;t=7')
    spent = WIRE.refusal(Problem("budget", "nothing is left", remaining=0))
    assert (spent.status, content(spent)) == (402, {"error": "nothing is left", "kind": "budget", "remaining": 0})


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ('"parameters": {"function_to_apply": "sigmoid"}', "unsupported"),
        ('"parameters": {"top_k": 0}', "bad_request"),
        ('"parameters": {"top_k": true}', "bad_request"),
        ('"parameters": []', "bad_request"),
        ('"inputs": ["a", "b"]', "bad_request"),
        ('"inputs": "http://127.0.0.1/picture.png"', "bad_request"),
    ],
)
def test_options_that_there_are_not(fields: str, kind: str) -> None:
    with pytest.raises(Problem) as caught:
        WIRE.read(HttpRequest("POST", "/models/digits", JSON, f'{{"inputs": "", {fields}}}'.encode()), ABOUT)
    assert caught.value.kind == kind


@pytest.fixture
def service() -> Served:
    return Served(WIRE, ABOUT)


@pytest.mark.process
def test_the_unmodified_client(service: Served) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    with served(service) as url:
        client = hub.InferenceClient(model=f"{url}/models/digits", token="hf_x")
        service.answers = Scores(VALUES)
        assert [(e.label, e.score) for e in client.image_classification(PNG, top_k=2)] == [("one", 0.4), ("five", 0.3)]
        assert len(client.image_classification(PNG)) == 5
        service.answers = Labels(np.array([3], np.int32), 6)
        assert [(e.label, e.score) for e in client.image_classification(PNG)] == [("three", None)]
        service.answers = Problem("rate", "slow down", 6.2)
        with pytest.raises(hub.errors.HfHubHTTPError, match="Retry after 7 seconds") as caught:
            client.image_classification(PNG)
        assert caught.value.response.status_code == 429
        service.answers = Problem("budget", "nothing is left", remaining=0)
        with pytest.raises(hub.errors.HfHubHTTPError, match="402"):
            client.image_classification(PNG)
    assert [question.top for question in service.questions] == [2, 5, 5, 5, 5]
    assert service.credentials == ["hf_x"] * 5
    for question in service.questions:
        np.testing.assert_array_equal(question.images, IMAGES)
