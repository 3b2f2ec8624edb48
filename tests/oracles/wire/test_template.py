"""Templates: what is sent, what is read, and which files are refused."""

from __future__ import annotations

import base64
import json
import sys
from typing import Any

import numpy as np
import pytest

from oracles.answers import Labels, Scores, TopK, encode, top_label
from oracles.errors import InvalidSpec
from oracles.wire.contract import HttpReply, Problem
from oracles.wire.pictures import from_picture
from oracles.wire.template import Template, load
from tests.oracles.wire.contract import CallerContract

ONE = """
url = "https://api.example.com/v1/classify?lang=en"
body = '{"image": "{image_png_base64}", "key": "{key}", "other": {"n": {count}}}'
classes = ["cat", "dog", "3"]
image_shape = [3, 2, 2]
[headers]
Authorization = "Bearer {key}"
[answer]
names = "$.labels[*].name"
scores = "$.labels[*].confidence"
scale = 100
[problems]
rate = [430, 500]
budget = [402]
"""

MANY = """
url = "http://127.0.0.1:8000/predict"
body = '{"batch": {images_json}}'
batch = 4
classes = ["cat", "dog", "3"]
image_shape = [3, 2, 2]
[answer]
images = "$.results[*]"
scores = "$.p"
"""


def images(count: int = 1) -> Any:
    return np.random.default_rng(1).random((count, 3, 2, 2), dtype=np.float32)


def understood(template: Template, value: Any, count: int = 1) -> Any:
    return template.understand(HttpReply(200, {}, json.dumps(value).encode()), count, template.interface())


class TestOne(CallerContract):
    wire = load(ONE)
    interface = wire.interface()


class TestMany(CallerContract):
    wire = load(MANY)
    interface = wire.interface()


def test_the_request_is_the_template_with_its_places_filled() -> None:
    template = load(ONE)
    request = template.ask(images(), template.interface(), 'k"1')
    assert (template.base, request.target) == ("https://api.example.com", "/v1/classify?lang=en")
    assert request.headers == {"authorization": 'Bearer k"1', "content-type": "application/json"}
    body = json.loads(request.body)
    assert (body["key"], body["other"]) == ('k"1', {"n": 1})
    read = from_picture(base64.b64decode(body["image"]), (3, 2, 2))
    np.testing.assert_array_equal(read, np.rint(images()[0] * np.float32(255)) / np.float32(255))
    assert template.pictures
    assert template.most == 1


def test_tensors_are_sent_exactly_and_nothing_in_them_is_a_placeholder() -> None:
    template = load(MANY)
    request = template.ask(images(3), template.interface(), None)
    sent = np.array(json.loads(request.body)["batch"], np.float64).astype(np.float32)
    np.testing.assert_array_equal(sent, images(3))
    assert not template.pictures
    assert template.most == 4


def test_the_picture_itself_may_be_the_body() -> None:
    raw = load(
        ONE.replace("""'{"image": "{image_png_base64}", "key": "{key}", "other": {"n": {count}}}'""", "'{image_png}'")
    )
    request = raw.ask(images(), raw.interface(), "k")
    assert request.body[:8] == b"\x89PNG\r\n\x1a\n"


def test_pictures_as_a_list() -> None:
    template = load(MANY.replace("{images_json}", "{images_png_base64_json}"))
    assert len(json.loads(template.ask(images(2), template.interface(), None).body)["batch"]) == 2
    assert template.pictures


def test_names_and_percentages_are_read() -> None:
    labels = [{"name": "dog", "confidence": 75}, {"name": 3, "confidence": 12.5}]
    answer = understood(load(ONE), {"labels": labels})
    assert encode(answer) == encode(
        TopK(np.array([[1, 2]], np.int32), np.array([[0.75, 0.125]], np.float32), 3, answer.floor)
    )


def test_scores_of_all_classes_are_read_per_image() -> None:
    answer = understood(load(MANY), {"results": [{"p": [0.5, 0.25, 0.25]}, {"p": [0, 1, 0]}]}, 2)
    assert encode(answer) == encode(Scores(np.array([[0.5, 0.25, 0.25], [0, 1, 0]], np.float32)))


def test_a_name_alone_is_a_label() -> None:
    template = load(ONE.replace('scores = "$.labels[*].confidence"', ""))
    assert encode(understood(template, {"labels": [{"name": "dog"}]})) == encode(Labels(np.array([1], np.int32), 3))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"results": [{"p": [0.5, 0.5]}]}, "3 classes and 2 scores"),
        ({"results": [{"p": [0.5, 0.25, "x"]}]}, "no number"),
        ({"results": [{"p": [0.5, 0.25, True]}]}, "no number"),
        ({"results": [{"p": [5, 0.25, 0.25]}]}, "no probability"),
        ({"results": [0.5]}, "single value"),
        ({"results": []}, "0 images"),
        ({"results": [{}]}, "0 scores"),
        ("text", "single value"),
    ],
)
def test_what_is_no_answer_is_said(value: Any, message: str) -> None:
    with pytest.raises(Problem, match=message) as raised:
        understood(load(MANY), value)
    assert raised.value.kind == "failed"


def test_an_unknown_class_is_an_error() -> None:
    with pytest.raises(Problem, match="'bird'"):
        understood(load(ONE), {"labels": [{"name": "bird", "confidence": 50}]})


@pytest.mark.parametrize(
    ("status", "kind"),
    [(430, "rate"), (500, "rate"), (402, "budget"), (429, "rate"), (503, "unavailable"), (404, "unknown_model")],
)
def test_statuses_mean_what_the_template_says(status: int, kind: str) -> None:
    told = load(ONE).problem(HttpReply(status, {"retry-after": "3"}, b'{"error": "wait"}'))
    assert (told.kind, told.message, told.retry_after) == (kind, "wait", 3.0)


@pytest.mark.parametrize("key", [None, "two\nlines", "\x00"])
def test_a_key_that_is_needed_must_be_there_and_fit_a_header(key: str | None) -> None:
    template = load(ONE)
    with pytest.raises(InvalidSpec, match="key"):
        template.ask(images(), template.interface(), key)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("image_shape = [3, 2, 2]", "", "image_shape"),
        ("image_shape = [3, 2, 2]", "image_shape = [3, 0, 2]", "image_shape"),
        ('classes = ["cat", "dog", "3"]', 'classes = ["cat", "cat"]', "twice"),
        ("https://api.example.com", "ftp://api.example.com", "http://"),
        ("https://", "https://user:secret@", "without a user"),
        ("lang=en", "key={key}", "logged"),
        ("{image_png_base64}", "{image_jpeg}", "image_jpeg"),
        ("{image_png_base64}", "none", "exactly one"),
        ("{image_png_base64}", "{images_json}{image_png_base64}", "exactly one"),
        ("{image_png_base64}", "{image_png}", "whole `body`"),
        ("Bearer {key}", "{images_json}", "header"),
        ("scale = 100", "scale = 0", "scale"),
        ("scale = 100", "sacle = 100", "sacle"),
        ("$.labels[*].name", "$.labels[", "no JSONPath"),
        ("budget = [402]", "bugdet = [402]", "bugdet"),
        ("budget = [402]", "budget = [200]", "budget"),
        ("[answer]", "[answer", "no TOML"),
    ],
)
def test_a_wrong_template_says_in_one_line_what_to_change(old: str, new: str, message: str) -> None:
    assert old in ONE
    with pytest.raises(InvalidSpec, match=message) as raised:
        load(ONE.replace(old, new))
    assert "\n" not in str(raised.value)
    assert "secret" not in str(raised.value)


def test_batches_need_a_placeholder_and_a_path_of_several_images() -> None:
    with pytest.raises(InvalidSpec, match="one image"):
        load(MANY.replace("{images_json}", "{image_png_base64}"))
    with pytest.raises(InvalidSpec, match=r"answer\.images"):
        load(MANY.replace("images = ", "# images = "))


def test_no_class_at_all_is_an_answer_only_where_the_template_says_so() -> None:
    with pytest.raises(Problem, match="empty = true"):
        understood(load(ONE), {"labels": []})
    assert top_label(understood(load(ONE.replace("scale", "empty = true\nscale")), {"labels": []})).tolist() == [-1]


def test_without_the_extra_the_message_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonpath", None)
    with pytest.raises(InvalidSpec, match=r"b3d-simkit\[remote\]"):
        load(ONE)


@pytest.mark.parametrize(
    ("body", "headers", "sent"),
    [
        ('{"batch": {images_json}}', "", "application/json"),
        (" [{images_png_base64_json}, 1]", "", "application/json"),
        ("{images_json}", "", "application/json"),
        ('{"batch": {images_json}}', "Content-Type = 'text/plain'", "text/plain"),
        ("image={image_png_base64}", "", None),
        ("{image_png}", "", None),
        ("{image_png_base64}", "", None),
    ],
)
def test_a_json_body_says_that_it_is_json(body: str, headers: str, sent: str | None) -> None:
    text = MANY.replace("'{\"batch\": {images_json}}'", f"'''{body}'''") + f"[headers]\n{headers}\n"
    template = load(text.replace("batch = 4", "batch = 1") if "image_png}" in body or "64}" in body else text)
    assert template.ask(images(), template.interface(), None).headers.get("content-type") == sent
