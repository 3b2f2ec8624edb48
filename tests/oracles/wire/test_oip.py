"""The Open Inference Protocol, with the bytes of other clients and servers."""

from __future__ import annotations

import gzip
import json
import struct
from typing import Any

import numpy as np
import pytest

from oracles.answers import Answer, Labels, Scores, TopK, encode
from oracles.wire.contract import HttpReply, HttpRequest, Interface, Problem
from oracles.wire.oip import OpenInference
from tests.oracles.wire.contract import CLASSES, WireContract, answers

NET = Interface("net", (3, 2, 2), ("a", "b", "c"), max_batch=4)
WIRE = OpenInference()


class TestBinary(WireContract):
    wire = WIRE


class TestJson(WireContract):
    wire = WIRE
    interface = Interface("net", (3, 8, 8), CLASSES, max_batch=4, places={"data": "json"})


class TestUint8(WireContract):
    wire = WIRE
    interface = Interface("net", (1, 8, 8), CLASSES, max_batch=4, datatype="UINT8", places={"output": "probabilities"})


class TestUint8AsJson(WireContract):
    wire = WIRE
    places = {"data": "json", "version": "2", "input": "x"}  # noqa: RUF012
    interface = Interface("net", (3, 8, 8), CLASSES, max_batch=4, datatype="UINT8", places=places)


def pixels(count: int = 2) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.linspace(0.0, 1.0, count * 12, dtype=np.float32).reshape(count, 3, 2, 2)


def binary(head: dict[str, Any], data: bytes, **headers: str) -> HttpRequest:
    text = json.dumps(head).encode()
    length = {"inference-header-content-length": str(len(text))}
    return HttpRequest("POST", "/v2/models/net/infer", length | headers, text + data)


def image_input(**changes: Any) -> dict[str, Any]:
    given = {"name": "images", "shape": [2, 3, 2, 2], "datatype": "FP32", "parameters": {"binary_data_size": 96}}
    return {"inputs": [given | changes]}


def tensor_of(reply: HttpReply, name: str) -> tuple[dict[str, Any], bytes]:
    """An output and its bytes, found as tritonclient finds them."""
    length = int(reply.headers["inference-header-content-length"])
    at = length
    for output in json.loads(reply.body[:length])["outputs"]:
        size = output["parameters"]["binary_data_size"]
        if output["name"] == name:
            return output, reply.body[at : at + size]
        at += size
    raise KeyError(name)


def test_tritonclients_binary_request_is_read_without_a_copy() -> None:
    """As captured: no content type, parameters.binary_data_output set where no outputs are named."""
    head = image_input() | {"parameters": {"binary_data_output": True}}
    images = pixels()
    question = WIRE.read(binary(head, images.tobytes()), NET)
    np.testing.assert_array_equal(question.images, images)
    reply = WIRE.answer(question, Scores(np.array([[0.5, 0.25, 0.25], [0, 1, 0]], np.float32)), NET)
    output, data = tensor_of(reply, "scores")
    assert (output["datatype"], output["shape"]) == ("FP32", [2, 3])
    assert np.frombuffer(data, "<f4").tolist() == [0.5, 0.25, 0.25, 0.0, 1.0, 0.0]
    assert json.loads(reply.body[: int(reply.headers["inference-header-content-length"])])["model_name"] == "net"


def test_gzip_leaves_the_header_length_that_of_the_plain_json() -> None:
    plain = binary(image_input(), pixels().tobytes())
    packed = HttpRequest("POST", "/", {**plain.headers, "content-encoding": "gzip"}, gzip.compress(plain.body))
    np.testing.assert_array_equal(WIRE.read(packed, NET).images, pixels())


def test_a_bomb_stops_at_the_largest_request_of_the_model() -> None:
    packed = HttpRequest("POST", "/", {"content-encoding": "gzip"}, gzip.compress(bytes(100_000_000)))
    with pytest.raises(Problem, match="more than 67072 bytes") as raised:
        WIRE.read(packed, NET)
    assert raised.value.kind == "too_large"


def test_a_header_length_of_0_makes_the_whole_body_the_tensor() -> None:
    raw = HttpRequest("POST", "/", {"inference-header-content-length": "0"}, pixels().tobytes())
    question = WIRE.read(raw, NET)
    np.testing.assert_array_equal(question.images, pixels())
    _, data = tensor_of(WIRE.answer(question, Scores(np.eye(3, dtype=np.float32)[:2]), NET), "scores")
    assert len(data) == 24
    with pytest.raises(Problem, match="an image of this model has 12"):
        WIRE.read(HttpRequest("POST", "/", raw.headers, raw.body[:-4]), NET)


def test_classification_is_bytes_of_score_class_and_name() -> None:
    """As captured of tritonclient with class_count=2: each element is a length in four bytes and its text."""
    wanted = [{"name": "scores", "parameters": {"classification": 2, "binary_data": True}}]
    question = WIRE.read(binary(image_input() | {"outputs": wanted}, pixels().tobytes()), NET)
    assert question.top == 2
    reply = WIRE.answer(question, Scores(np.array([[0.5, 0.25, 0.25], [0, 0.125, 0.875]], np.float32)), NET)
    output, data = tensor_of(reply, "scores")
    assert (output["datatype"], output["shape"]) == ("BYTES", [2, 2])
    texts = [b"0.5:0:a", b"0.25:1:b", b"0.875:2:c", b"0.125:1:b"]
    assert data == b"".join(struct.pack("<I", len(text)) + text for text in texts)
    read = WIRE.understand(reply, 2, NET)
    assert isinstance(read, TopK)
    assert read.classes.tolist() == [[0, 1], [2, 1]]
    assert read.values.tolist() == [[0.5, 0.25], [0.875, 0.125]]


@pytest.mark.parametrize("name", answers(3, 2))
def test_classification_keeps_the_classes_that_an_answer_names(name: str) -> None:
    wanted = [{"name": "scores", "parameters": {"classification": 3}}]
    question = WIRE.read(binary(image_input() | {"outputs": wanted}, pixels().tobytes()), NET)
    answer = answers(3, 2)[name]
    read = WIRE.understand(WIRE.answer(question, answer, NET), 2, NET)
    assert isinstance(read, TopK)
    if isinstance(answer, TopK):
        np.testing.assert_array_equal(read.classes, answer.classes)
        np.testing.assert_array_equal(read.values, answer.values)
    elif isinstance(answer, Labels):
        np.testing.assert_array_equal(read.classes[:, 0], answer.labels)


def test_tritons_classification_without_names_has_two_fields() -> None:
    """As captured of Triton 2.51.0, here as JSON."""
    output = {"name": "y", "datatype": "BYTES", "shape": [1, 2], "data": ["0.164230:8", "0.111111:2"]}
    reply = HttpReply(200, {}, json.dumps({"outputs": [output]}).encode())
    read = WIRE.understand(reply, 1, Interface("net", (3, 2, 2), tuple("abcdefghij")))
    assert isinstance(read, TopK)
    assert read.classes.tolist() == [[8, 2]]
    assert read.values[0, 0] == np.float32(0.16423)


@pytest.mark.parametrize(
    ("output", "answer"),
    [
        (
            {"datatype": "FP32", "shape": [2, 3], "data": [0.5, 0.25, 0.25, 0, 1, 0]},
            Scores(np.array([[0.5, 0.25, 0.25], [0, 1, 0]], np.float32)),
        ),
        (
            {"datatype": "FP64", "shape": [2, 3], "data": [[0.5, 0.25, 0.25], [0, 1, 0]]},
            Scores(np.array([[0.5, 0.25, 0.25], [0, 1, 0]], np.float32)),
        ),
        ({"datatype": "INT64", "shape": [2, 1], "data": [2, 0]}, Labels(np.array([2, 0], np.int32), 3)),
        ({"datatype": "INT32", "shape": [2], "data": [1, -1]}, Labels(np.array([1, -1], np.int32), 3)),
    ],
)
def test_other_servers_answers_are_understood(output: dict[str, Any], answer: Answer) -> None:
    reply = HttpReply(200, {}, json.dumps({"model_name": "m", "outputs": [{"name": "y", **output}]}).encode())
    assert encode(WIRE.understand(reply, 2, NET)) == encode(answer)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ({"datatype": "FP32", "shape": [1, 3], "data": [3.0, -1.0, 0.0]}, "no probabilities"),
        ({"datatype": "FP64", "shape": [1, 3], "data": [1e300, 0, 0]}, "no probabilities"),
        ({"datatype": "FP32", "shape": [1, 2], "data": [0.5, 0.5]}, "shape"),
        ({"datatype": "FP32", "shape": [3, 1], "data": [0.5, 0.5, 0]}, "shape"),
        ({"datatype": "INT64", "shape": [1], "data": [3]}, "beyond 0 to 2"),
        ({"datatype": "INT64", "shape": [1], "data": [-2]}, "beyond 0 to 2"),
        ({"datatype": "UINT64", "shape": [1], "data": [18446744073709551615]}, "beyond 0 to 2"),
        ({"datatype": "UINT8", "shape": [1], "data": [256]}, "UINT8"),
        ({"datatype": "BYTES", "shape": [1, 1], "data": ["nan:1"]}, "no probabilities"),
        ({"datatype": "BYTES", "shape": [1, 1], "data": ["0.5:cat"]}, "no class"),
        ({"datatype": "BYTES", "shape": [1, 1], "data": ["0.5:7"]}, "beyond 0 to 2"),
        ({"datatype": "FP32", "shape": [1, 3], "data": [True, "x", 0]}, "numbers"),
        ({"datatype": "FP32", "shape": [1, 3], "data": [[1, 0], 0]}, "mixes"),
        ({"datatype": "FP32", "shape": [1, 10**18], "data": []}, "more than"),
    ],
)
def test_what_is_no_answer_is_said(output: dict[str, Any], message: str) -> None:
    reply = HttpReply(200, {}, json.dumps({"outputs": [{"name": "y", **output}]}).encode())
    with pytest.raises(Problem, match=message) as raised:
        WIRE.understand(reply, 1, NET)
    assert raised.value.kind == "failed"


@pytest.mark.parametrize(
    "codec", ["topk/3/2/0.0", "labels/3", "scores/4/0.0", "scores/3/nan", "scores/3/inf", "scores/3/-1.0", "x", ""]
)
def test_an_answer_that_is_not_what_it_says_is_refused(codec: str) -> None:
    output = {"name": "scores", "datatype": "FP32", "shape": [1, 3], "data": [1, 0, 0], "parameters": {"answer": codec}}
    with pytest.raises(Problem, match="says that it is"):
        WIRE.understand(HttpReply(200, {}, json.dumps({"outputs": [output]}).encode()), 1, NET)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"name": "other"}, "bad_request"),
        ({"datatype": "FP64", "shape": [1, 3, 2, 2]}, "invalid_images"),
        ({"datatype": "BOOL"}, "unsupported"),
        ({"shape": [2, 3, 4]}, "invalid_images"),
        ({"shape": [2, 3, 2, 3]}, "bad_request"),
        ({"shape": [True, 3, 2, 2]}, "bad_request"),
        ({"shape": [2, 3, -2, -2]}, "bad_request"),
        ({"shape": [4, 3, 2, 2]}, "bad_request"),
        ({"shape": [2**40, 3, 2, 2]}, "too_large"),
        ({"parameters": {"binary_data_size": 92}}, "bad_request"),
        ({"parameters": {"binary_data_size": 100}}, "bad_request"),
        ({"parameters": {"binary_data_size": -1}}, "bad_request"),
        ({"parameters": {"shared_memory_region": "x"}}, "unsupported"),
        ({"parameters": {}}, "bad_request"),
    ],
)
def test_an_input_that_is_not_the_models_is_refused(changes: dict[str, Any], kind: str) -> None:
    with pytest.raises(Problem) as raised:
        WIRE.read(binary(image_input(**changes), pixels().tobytes()), NET)
    assert raised.value.kind == kind


@pytest.mark.parametrize(
    ("shape", "send"),
    [([5, 3, 2, 2], "4 or fewer"), ([3, 6, 2, 2], "2 or fewer"), ([1, 3, 9, 9], "smaller"), ([99], "fewer")],
)
def test_a_tensor_that_is_too_large_is_told_how_many_images_fit(shape: list[int], send: str) -> None:
    with pytest.raises(Problem) as raised:
        WIRE.read(binary(image_input(shape=shape), pixels().tobytes()), NET)
    assert raised.value.message == f"'images' has more than 48 elements; send {send} images a call"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -0.001, 1.001])
def test_pixels_beyond_0_to_1_are_refused(value: float) -> None:
    images = pixels()
    images[1, 2, 0, 1] = value
    with pytest.raises(Problem) as raised:
        WIRE.read(binary(image_input(), images.tobytes()), NET)
    assert raised.value.kind == "invalid_images"


def test_a_batch_over_the_limit_is_said_in_tritons_words() -> None:
    small = Interface("net", NET.image_shape, NET.classes, max_batch=1)
    reply = WIRE.refusal(Problem("too_large", "inference request batch-size must be <= 1 for 'net'"))
    assert WIRE.problem(reply).kind == "too_large"
    assert WIRE.problem(HttpReply(400, {}, b'{"error": "batch-size must be <= 128"}')).kind == "too_large"
    with pytest.raises(Problem):
        WIRE.read(binary(image_input(), pixels().tobytes()), small)


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (404, b'{"error":"Request for unknown model: \'x\' is not found"}', "unknown_model", "unknown model"),
        (422, b'{"detail":"body is not valid"}', "bad_request", "body is not valid"),
        (500, b"Internal Server Error", "failed", "Internal"),
        (503, b'{"error":"Exceeds maximum queue size"}', "unavailable", "queue"),
        (400, b"", "bad_request", "status 400"),
        (200, b"{}", "failed", "{}"),
    ],
)
def test_other_servers_refusals_are_understood(status: int, body: bytes, kind: str, message: str) -> None:
    problem = WIRE.problem(HttpReply(status, {"content-type": "text/plain"}, body))
    assert problem.kind == kind
    assert message in problem.message


def test_keys_come_as_a_bearer_token_or_as_a_basic_password() -> None:
    def credential(text: str) -> str | None:
        return WIRE.credential(HttpRequest("POST", "/", {"authorization": text}))

    assert credential("bearer  sk-1 ") == "sk-1"
    assert credential("Basic dXNlcjpzay0x") == "sk-1"  # user:sk-1
    assert credential("Basic c2stMTo=") == "sk-1"  # sk-1:
    assert credential("Basic x") is credential("Bearer ") is credential("Basic Og==") is None


def test_numbers_of_a_refusal_come_back() -> None:
    problem = WIRE.problem(WIRE.refusal(Problem("budget", "no", remaining=3)))
    assert (problem.remaining, problem.retry_after) == (3, None)
    assert WIRE.problem(WIRE.refusal(Problem("rate", "no", 0.25))).retry_after == 0.25


def test_outputs_are_given_as_they_are_asked() -> None:
    answer = TopK(np.array([[2, -1]], np.int32), np.array([[0.5, 0]], np.float32), 3, 0.25)
    head = image_input(shape=[1, 3, 2, 2], parameters={"binary_data_size": 48})
    for outputs, names in (([], ["scores", "classes"]), ([{"name": "scores"}], ["scores"])):
        question = WIRE.read(binary(head | {"id": "7", "outputs": outputs}, pixels(1).tobytes()), NET)
        said = json.loads(WIRE.answer(question, answer, NET).body)
        assert [output["name"] for output in said["outputs"]] == names
        assert said["outputs"][0]["data"] == [0.0, 0.0, 0.5]
        assert said["outputs"][0]["parameters"] == {"answer": "topk/3/2/0.25"}
        assert said["id"] == "7"
    several: list[Any] = [[{"name": "x"}], [{"name": "classes", "parameters": {"classification": 1}}], [3], [{}] * 3]
    for wrong in several:
        with pytest.raises(Problem) as raised:
            WIRE.read(binary(head | {"outputs": wrong}, pixels(1).tobytes()), NET)
        assert raised.value.kind == "bad_request"


def test_the_metadata_says_what_a_client_must_send() -> None:
    def said(path: str) -> Any:
        return json.loads(WIRE.describe(HttpRequest("GET", path), NET).body)

    assert said("/v2/models/net")["inputs"] == [{"name": "images", "datatype": "FP32", "shape": [-1, 3, 2, 2]}]
    assert said("/v2/models/net/versions/1")["parameters"] == {"classes": ["a", "b", "c"], "max_batch_size": 4}
    assert said("/v2/models/net/config")["max_batch_size"] == 4
    assert said("/v2/health/live") == {"live": True}
    assert said("/v2/models/net/ready") == {"name": "net", "ready": True}
    assert "binary_tensor_data" in said("/v2")["extensions"]
    for path in ("/v2/models", "/v2/models/net/x", "/v3", "/v2/health/x"):
        with pytest.raises(Problem):
            said(path)
