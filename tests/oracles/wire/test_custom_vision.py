"""Azure Custom Vision: known bytes, and the unmodified client against a service on this machine."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracles.answers import Labels, Scores
from oracles.wire.contract import HttpRequest, Problem, Question
from oracles.wire.custom_vision import CustomVision
from oracles.wire.pictures import to_png
from tests.oracles.wire.picture_formats import ABOUT, ANSWERS, IMAGES, VALUES, content
from tests.oracles.wire.served import Served, served

pytest.importorskip("multipart", reason="multipart (of the extra [serve]) is not installed")

WIRE = CustomVision()
PNG = to_png(IMAGES[0])
PROJECT = "00000000-0000-0000-0000-000000000001"
PATH = f"/customvision/v3.1/prediction/{PROJECT}/classify/iterations/digits/image"
FORM = (
    b'--b1a0040fabba01b49bab630dafe28baf\r\nContent-Disposition: form-data; name="imageData"\r\n\r\n'
    + PNG
    + b"\r\n--b1a0040fabba01b49bab630dafe28baf--\r\n"
)
"""As azure-cognitiveservices-vision-customvision 3.1.1 sent it: without a file name."""

HEADERS = {"prediction-key": "K", "content-type": "multipart/form-data; boundary=b1a0040fabba01b49bab630dafe28baf"}
REQUEST = HttpRequest("POST", PATH, HEADERS, FORM)


def refused(request: HttpRequest) -> Problem:
    with pytest.raises(Problem) as caught:
        WIRE.read(request, ABOUT)
    return caught.value


@pytest.mark.parametrize("end", ["", "/nostore", "?application=x", "/nostore?application=url"])
def test_what_the_client_sends(end: str) -> None:
    request = dataclasses.replace(REQUEST, target=PATH + end)
    np.testing.assert_array_equal(WIRE.read(request, ABOUT).images, IMAGES)
    assert WIRE.credential(request) == "K"


def test_what_the_portal_recommends() -> None:
    request = HttpRequest("POST", PATH, {"content-type": "application/octet-stream"}, PNG)
    np.testing.assert_array_equal(WIRE.read(request, ABOUT).images, IMAGES)


def test_a_large_picture_in_a_form_is_read() -> None:
    about = dataclasses.replace(ABOUT, image_shape=(3, 900, 900))
    noise = (np.random.default_rng(0).integers(0, 256, (3, 900, 900)) / 255).astype(np.float32)
    body = FORM.replace(PNG, to_png(noise))
    assert len(body) > 2**21
    np.testing.assert_array_equal(WIRE.read(dataclasses.replace(REQUEST, body=body), about).images[0], noise)


def test_known_reply() -> None:
    body = content(WIRE.answer(Question(IMAGES, 2), ANSWERS[0], ABOUT))
    assert isinstance(body, dict)
    assert [(p["tagName"], p["probability"], p["tagType"]) for p in body["predictions"]] == [
        ("one", 0.4, "Regular"),
        ("five", 0.3, "Regular"),
    ]
    again = WIRE.answer(Question(IMAGES, 2), ANSWERS[0], ABOUT)
    assert content(again) == body


@pytest.mark.parametrize("end", ["url", "url/nostore", "url/", "url?application=x"])
def test_addresses_of_pictures_are_refused(end: str) -> None:
    body = b'{"url": "http://127.0.0.1/picture.png"}'
    target = PATH.removesuffix("image") + end
    problem = refused(HttpRequest("POST", target, {"content-type": "application/json"}, body))
    assert (problem.kind, "not fetched" in problem.message) == ("unsupported", True)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        FORM[:-4],
        FORM[:60],
        FORM.replace(b"imageData", b"image"),
        FORM.replace(b"form-data; ", b""),
        FORM.replace(b'; name="imageData"', b""),
        FORM.replace(b'"imageData"', b'"\xff\xfe"'),
        FORM.replace(b"\r\n\r\n", b"\r\n" + b"X-Header: 1\r\n" * 50 + b"\r\n", 1),
        (FORM[:-40].replace(b"imageData", b"other") + b"\r\n") * 20 + FORM,
    ],
    ids=len,
)
def test_hostile_forms_are_refused(body: bytes) -> None:
    assert refused(dataclasses.replace(REQUEST, body=body)).kind == "bad_request"


@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; b=1"])
def test_a_form_without_a_boundary_is_refused(kind: str) -> None:
    assert "boundary" in refused(dataclasses.replace(REQUEST, headers={"content-type": kind})).message


@given(at=st.integers(0, len(FORM)), junk=st.binary(max_size=80), skip=st.integers(0, 40))
def test_no_form_raises_anything_but_problem(at: int, junk: bytes, skip: int) -> None:
    kinds = ("bad_request", "invalid_images", "read")
    try:
        WIRE.read(dataclasses.replace(REQUEST, body=FORM[:at] + junk + FORM[at + skip :]), ABOUT)
        outcome = "read"
    except Problem as problem:
        outcome = problem.kind
    assert outcome in kinds


@pytest.mark.process
def test_the_unmodified_client() -> None:
    reason = "azure-cognitiveservices-vision-customvision is not installed"
    azure = pytest.importorskip("azure.cognitiveservices.vision.customvision.prediction", reason=reason)
    key = pytest.importorskip("msrest.authentication").ApiKeyCredentials(in_headers={"Prediction-key": "K"})
    service = Served(WIRE, ABOUT)
    with served(service) as url:
        client = azure.CustomVisionPredictionClient(url, key)
        service.answers = Scores(VALUES)
        for call in (client.classify_image, client.classify_image_with_no_store):
            predictions = call(PROJECT, "digits", PNG).predictions
            assert [(p.tag_name, p.probability) for p in predictions][:2] == [("one", 0.4), ("five", 0.3)]
        service.answers = Labels(np.array([3], np.int32), 6)
        (label,) = client.classify_image(PROJECT, "digits", PNG).predictions
        assert (label.tag_name, label.probability) == ("three", None)
        error = azure.models.CustomVisionErrorException
        service.answers = Problem("rate", "slow down", 6.2)
        with pytest.raises(error, match="slow down") as caught:
            client.classify_image(PROJECT, "digits", PNG)
        assert (caught.value.response.status_code, caught.value.response.headers["retry-after"]) == (429, "7")
        with pytest.raises(error, match="not fetched"):
            client.classify_image_url(PROJECT, "digits", "http://127.0.0.1/picture.png")
    assert service.credentials == ["K"] * 5
    for question in service.questions:
        np.testing.assert_array_equal(question.images, IMAGES)
