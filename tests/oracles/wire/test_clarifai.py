"""Clarifai's model outputs, with the bytes of callers and of the service."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from oracles.answers import Labels, Scores, TopK, encode
from oracles.wire.clarifai import Clarifai
from oracles.wire.contract import HttpReply, HttpRequest, Interface, Problem
from oracles.wire.pictures import to_base64
from tests.oracles.wire.contract import WireContract

NET = Interface("m", (3, 2, 2), ("a", "b", "c"), max_batch=4, places={"user": "u", "app": "x"})
WIRE = Clarifai()


class TestClarifai(WireContract):
    wire = WIRE


def request(body: dict[str, Any], authorization: str = "Key sk-1") -> HttpRequest:
    headers = {"authorization": authorization, "content-type": "application/json"}
    return HttpRequest("POST", "/v2/users/u/apps/x/models/m/outputs", headers, json.dumps(body).encode())


def picture() -> dict[str, Any]:
    return {"data": {"image": {"base64": to_base64(np.full((3, 2, 2), 0.2, np.float32))}}}


@pytest.mark.parametrize("versioned", [True, False])
def test_the_options_are_read_from_either_place(versioned: bool) -> None:
    info: dict[str, Any] = {"output_info": {"output_config": {"max_concepts": 2, "min_value": 0.3}}}
    question = WIRE.read(request({"inputs": [picture()], "model": {"model_version": info} if versioned else info}), NET)
    assert (question.top, question.minimum) == (2, 0.3)
    said = json.loads(WIRE.answer(question, Scores(np.array([[0.25, 0.5, 0.25]], np.float32)), NET).body)
    assert said["status"]["code"] == said["outputs"][0]["status"]["code"] == 10000
    assert said["outputs"][0]["data"]["concepts"] == [{"id": "1", "name": "b", "value": 0.5}]


def test_the_key_is_a_key() -> None:
    assert WIRE.credential(request({})) == WIRE.credential(request({}, "bearer sk-1")) == "sk-1"
    assert WIRE.credential(request({}, "Basic sk-1")) is None


@pytest.mark.parametrize("images", [1, 8, 128])
def test_a_reply_that_tells_all_about_the_model_is_read(images: int) -> None:
    about = dict.fromkeys("abcdefghijklmnopqrstuvwxyz", "x")
    concepts = [{"id": name, "name": name, "value": 0.1, "app_id": "a", "user_id": "u"} for name in NET.classes]
    output = {"status": {"code": 10000}, "model": about, "input": about, "meta": about, "data": {"concepts": concepts}}
    body = json.dumps({"status": {"code": 10000}, "outputs": [output] * images}).encode()
    assert len(WIRE.understand(HttpReply(200, {}, body), images, NET)) == images


def test_a_reply_with_more_values_than_any_answer_has_is_not_parsed() -> None:
    body = json.dumps({"status": {"code": 10000}, "outputs": [{"data": {"x": [0] * 1000}}]}).encode()
    with pytest.raises(Problem, match="more than"):
        WIRE.understand(HttpReply(200, {}, body), 1, NET)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"inputs": [picture()] * 5}, "too_large"),
        ({"inputs": []}, "bad_request"),
        ({"inputs": [{"data": {"image": {"url": "http://169.254.169.254/"}}}]}, "unsupported"),
        ({"inputs": [{"data": {"text": {"raw": "x"}}}]}, "bad_request"),
        ({"inputs": [picture()], "model": {"output_info": {"output_config": {"min_value": 2}}}}, "bad_request"),
        ({"inputs": [picture()], "model": {"output_info": {"output_config": {"max_concepts": -1}}}}, "bad_request"),
    ],
)
def test_what_cannot_be_asked_is_refused(body: dict[str, Any], kind: str) -> None:
    with pytest.raises(Problem) as raised:
        WIRE.read(request(body), NET)
    assert raised.value.kind == kind


def test_outputs_of_the_service_are_understood() -> None:
    def understood(*concepts: Any) -> Any:
        outputs = [{"id": "1", "data": {"concepts": list(concepts)}}]
        body = json.dumps({"status": {"code": 10000, "description": "Ok"}, "outputs": outputs}).encode()
        return WIRE.understand(HttpReply(200, {}, body), 1, NET)

    c, a, b = (
        {"id": f"ai_{n}", "name": n, "value": v, "app_id": "main"} for n, v in (("c", 0.5), ("a", 0.3), ("b", 0.2))
    )
    assert encode(understood(c, a, b)) == encode(Scores(np.array([[0.3, 0.2, 0.5]], np.float32)))
    assert isinstance(understood(c, a), TopK)
    assert encode(understood({"name": "b"})) == encode(Labels(np.array([1], np.int32), 3))
    for wrong in ({"name": "x", "value": 1.0}, {"value": 1.0}, {"name": "a", "value": "1"}, {"name": "a", "value": 7}):
        with pytest.raises(Problem):
            understood(wrong)


@pytest.mark.parametrize(("status", "code"), [(200, 11005), (429, 11005)])
def test_the_code_of_the_status_says_what_happened(status: int, code: int) -> None:
    body = json.dumps({"status": {"code": code, "description": "Throttled", "details": "10 a second"}}).encode()
    told = WIRE.problem(HttpReply(status, {}, body))
    assert (told.kind, told.message) == ("rate", "10 a second")
    with pytest.raises(Problem, match="10 a second"):
        WIRE.understand(HttpReply(status, {}, body), 1, NET)


def test_an_unknown_code_leaves_the_status() -> None:
    assert WIRE.problem(HttpReply(503, {}, b'{"status": {"code": 99999}}')).kind == "unavailable"
    assert WIRE.problem(HttpReply(200, {}, b'{"status": {"code": true}}')).kind == "failed"


def test_a_refusal_has_clarifais_code_and_the_budget_that_is_left() -> None:
    reply = WIRE.refusal(Problem("rate", "slow down", 1.5))
    assert json.loads(reply.body)["status"] == {"code": 11005, "description": "slow down", "details": "slow down"}
    assert reply.headers["retry-after"] == "2"
    assert WIRE.problem(WIRE.refusal(Problem("budget", "no", remaining=3))).remaining == 3


def test_the_path_without_user_and_app() -> None:
    plain = Interface("m", (3, 2, 2), ("a", "b", "c"))
    images = np.zeros((1, 3, 2, 2), np.float32)
    assert WIRE.ask(images, plain, None).target == "/v2/models/m/outputs"
    assert WIRE.ask(images, NET, None).target == "/v2/users/u/apps/x/models/m/outputs"
