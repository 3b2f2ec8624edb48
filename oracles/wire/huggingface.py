"""Hugging Face image classification, as the inference providers, Inference Endpoints and their clients speak it.

A request is the raw picture, without a content type, or JSON {"inputs": base64, "parameters": {"top_k",
"function_to_apply"}}; the answer is [{"label", "score"}, ...]. Source: the task's page in the documentation of
Inference Providers, and huggingface_hub 2.4.0. Without `top_k`, five classes are answered, as by transformers.
"""

from __future__ import annotations

from pydantic_core import to_json

from oracles.answers import Answer, FloatArray
from oracles.wire.bodies import json_reply, member, parsed_object, retry_header
from oracles.wire.contract import HttpReply, HttpRequest, Interface, Kind, Problem, Question, Route
from oracles.wire.pictures import from_base64, from_picture, to_base64
from oracles.wire.replies import reply_value, stated, stated_problem
from oracles.wire.scores import answer_header, answer_of, entries_of, limited, row_of, rows_of

DEFAULT_TOP = 5
"""Classes in an answer where the caller names no number: that of transformers' pipeline."""

_STATUS: dict[Kind, int] = {
    "bad_request": 400,
    "invalid_images": 400,
    "too_large": 413,
    "unsupported": 415,
    "unauthorized": 401,
    "expired": 401,
    "unknown_model": 404,
    "rate": 429,
    "near_duplicate": 403,
    "budget": 402,
    "banned": 403,
    "key_reused": 422,
    "in_progress": 409,
    "unavailable": 503,
    "failed": 500,
}


class HuggingFace:
    """One picture a call. The `error` of a refusal is what every client reads; its kind is beside it.

    places: `path`, where the caller's URL is not `/models/MODEL`.
    """

    name = "hf"
    pictures = True
    most = 1
    routes = (
        Route("POST", "/models/{model}"),
        Route("POST", "/hf-inference/models/{model}"),
        Route("GET", "/models/{model}", "describe"),
    )

    def credential(self, request: HttpRequest) -> str | None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        return key.strip() or None if scheme.lower() == "bearer" else None

    def read(self, request: HttpRequest, interface: Interface) -> Question:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "application/json" or (not kind and request.body.lstrip()[:1] == b"{"):
            return _read_json(request.body, interface)
        return Question(from_picture(request.body, interface.image_shape)[None], DEFAULT_TOP)

    def answer(self, question: Question, answer: Answer, interface: Interface) -> HttpReply:
        answer = limited(answer, question)
        (row,) = rows_of(answer, interface)
        return json_reply(entries_of(row, "label", "score"), headers=answer_header(answer))

    def refusal(self, problem: Problem) -> HttpReply:
        body = {"error": problem.message, **stated(problem)}
        headers = retry_header(problem)
        if _STATUS[problem.kind] == 429 and headers:
            headers["ratelimit"] = f'"api";r=0;t={headers["retry-after"]}'
        return json_reply(body, _STATUS[problem.kind], headers)

    def describe(self, request: HttpRequest, interface: Interface) -> HttpReply:
        """As a model's configuration: its classes by id, and the size of its pictures."""
        labels = {str(id): name for id, name in enumerate(interface.classes)}
        channels, height, width = interface.image_shape
        size = {"height": height, "width": width}
        about = {"id": interface.model, "pipeline_tag": "image-classification"}
        return json_reply({**about, "id2label": labels, "num_channels": channels, "image_size": size})

    def ask(self, images: FloatArray, interface: Interface, credential: str | None) -> HttpRequest:
        (image,) = images
        body = {"inputs": to_base64(image), "parameters": {"top_k": len(interface.classes)}}
        headers = {"content-type": "application/json", "accept": "application/json"}
        if credential is not None:
            headers["authorization"] = f"Bearer {credential}"
        path = interface.places.get("path", f"/models/{interface.model}")
        return HttpRequest("POST", path, headers, to_json(body))

    def understand(self, reply: HttpReply, images: int, interface: Interface) -> Answer:
        entries = reply_value(reply, interface)
        if isinstance(entries, list) and len(entries) == 1 and isinstance(entries[0], list):
            entries = entries[0]  # some servers answer a list of images
        return answer_of([row_of(entries, "label", "score")], reply, interface)

    def problem(self, reply: HttpReply) -> Problem:
        return stated_problem(reply)


def _read_json(body: bytes, interface: Interface) -> Question:
    fields = parsed_object(body, 100)
    options = member(fields, "parameters", dict, {})
    function, top = member(options, "function_to_apply", str, "softmax"), member(options, "top_k", int, DEFAULT_TOP)
    if function != "softmax":
        raise Problem("unsupported", f"function_to_apply is {function[:20]!r}; this service answers 'softmax' only")
    if top < 1:
        raise Problem("bad_request", f"top_k is {top}; give 1 or more")
    return Question(from_base64(fields.get("inputs"), interface.image_shape, "inputs")[None], top)
