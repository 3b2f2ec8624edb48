"""tritonclient's own bytes, without a connection: its requests are read, and it reads the answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from oracles.answers import Labels, Scores, TopK
from oracles.wire.contract import HttpRequest, Interface
from oracles.wire.oip import OpenInference

http = pytest.importorskip("tritonclient.http", reason="needs tritonclient[http]")

NET = Interface("net", (3, 2, 2), ("a", "b", "c"), max_batch=4)
WIRE = OpenInference()
SCORES = Scores(np.array([[0.5, 0.25, 0.25], [0, 0.125, 0.875]], np.float32))


def images(datatype: str = "FP32") -> Any:
    pixels = np.random.default_rng(2).integers(0, 256, (2, 3, 2, 2)).astype(np.uint8)
    return pixels if datatype == "UINT8" else (pixels / np.float32(255)).astype(np.float32)


def asked(binary: bool, datatype: str = "FP32", outputs: Any = None) -> HttpRequest:
    given = http.InferInput("images", [2, 3, 2, 2], datatype)
    given.set_data_from_numpy(images(datatype), binary_data=binary)
    body, length = http.InferenceServerClient.generate_request_body([given], outputs=outputs, request_id="7")
    headers = {} if length is None else {"inference-header-content-length": str(length)}
    return HttpRequest("POST", "/v2/models/net/infer", headers, bytes(body))


def parsed(request: HttpRequest, answer: Any) -> Any:
    reply = WIRE.answer(WIRE.read(request, NET), answer, NET)
    length = reply.headers.get("inference-header-content-length")
    return http.InferenceServerClient.parse_response_body(
        reply.body, header_length=None if length is None else int(length)
    )


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("datatype", ["FP32", "UINT8"])
def test_its_images_are_read(binary: bool, datatype: str) -> None:
    question = WIRE.read(asked(binary, datatype), NET)
    np.testing.assert_array_equal(question.images, images())


@pytest.mark.parametrize("binary", [True, False])
def test_it_reads_scores(binary: bool) -> None:
    outputs = None if binary else [http.InferRequestedOutput("scores", binary_data=False)]
    result = parsed(asked(True, outputs=outputs), SCORES)
    np.testing.assert_array_equal(result.as_numpy("scores"), SCORES.values)
    assert result.get_response()["id"] == "7"


@pytest.mark.parametrize("binary", [True, False])
def test_it_reads_its_classification(binary: bool) -> None:
    outputs = [http.InferRequestedOutput("scores", binary_data=binary, class_count=2)]
    found = parsed(asked(True, outputs=outputs), SCORES).as_numpy("scores")
    texts = [[text.decode() if isinstance(text, bytes) else text for text in row] for row in found.tolist()]
    assert texts == [["0.5:0:a", "0.25:1:b"], ["0.875:2:c", "0.125:1:b"]]


def test_it_reads_fewer_classes_and_labels() -> None:
    top = TopK(np.array([[2, -1], [0, 1]], np.int32), np.array([[0.5, 0], [0.75, 0.25]], np.float32), 3, 0.25)
    result = parsed(asked(True), top)
    assert result.as_numpy("classes").tolist() == [[2, -1], [0, 1]]
    assert result.as_numpy("scores").tolist() == [[0.0, 0.0, 0.5], [0.75, 0.25, 0.0]]
    labels = parsed(asked(True), Labels(np.array([1, -1], np.int32), 3))
    assert labels.as_numpy("classes").tolist() == [[1], [-1]]
    assert labels.as_numpy("scores").tolist() == [[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
