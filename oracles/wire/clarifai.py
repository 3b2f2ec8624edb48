"""Clarifai's model outputs in JSON, as clarifai-grpc's JSON channel and plain REST callers speak it.

A request is {"inputs": [{"data": {"image": {"base64": ...}}}, ...], "model": {"output_info": {"output_config":
{"max_concepts", "min_value"}}}}; the answer is {"status": {"code": 10000}, "outputs": [{"data": {"concepts": [{"id",
"name", "value"}, ...]}}, ...]}. Source: the documentation of the API, and clarifai-grpc 12.6.0 for the status codes.
Its client reads `status.code`, whatever the HTTP status. The value of a label-only answer is null.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import numpy as np
from pydantic_core import to_json

from oracles.answers import Answer, FloatArray
from oracles.wire.bodies import (
    json_reply,
    member,
    message_of,
    parsed_object,
    picture_bytes,
    retry_header,
    said,
    unpacked,
)
from oracles.wire.contract import HttpReply, HttpRequest, Interface, Kind, Problem, Question, Route
from oracles.wire.pictures import from_base64, to_base64
from oracles.wire.replies import reply_value, stated, stated_problem
from oracles.wire.scores import Row, answer_header, answer_of, entries_of, limited, row_of, rows_of

DEFAULT_TOP = 20
"""Concepts in an answer where the caller names no number."""

MOST_IMAGES = 128
"""Images in a call, by the documentation."""

SUCCESS = 10000

_STATUS: dict[Kind, tuple[int, int]] = {
    "bad_request": (400, 11100),  # CONN_BAD_REQUEST_FORMAT
    "invalid_images": (400, 30300),  # INPUT_INVALID_BYTES
    "too_large": (400, 30105),  # INPUT_OVER_LIMIT
    "unsupported": (400, 11102),  # CONN_INVALID_REQUEST
    "unauthorized": (401, 11009),  # CONN_KEY_NOT_FOUND
    "expired": (401, 11008),  # CONN_KEY_INVALID
    "unknown_model": (404, 21200),  # MODEL_DOES_NOT_EXIST
    "rate": (429, 11005),  # CONN_THROTTLED
    "near_duplicate": (403, 11102),
    "budget": (403, 11006),  # CONN_EXCEEDS_LIMITS
    "banned": (403, 11000),  # CONN_ACCOUNT_ISSUES
    "key_reused": (422, 11102),
    "in_progress": (409, 10030),  # TRY_AGAIN
    "unavailable": (503, 21354),  # MODEL_BUSY_PLEASE_RETRY
    "failed": (500, 98004),  # INTERNAL_SERVER_ISSUE
}

_CODES: dict[int, Kind] = {
    **{code: kind for kind, (_, code) in _STATUS.items() if code != 11102},
    11001: "unauthorized",
    11002: "unauthorized",
    11003: "rate",  # CONN_EXCEED_HOURLY_LIMIT
    11004: "budget",  # CONN_EXCEED_MONTHLY_LIMIT
    11007: "unauthorized",
    11101: "unknown_model",
    11102: "bad_request",
    21351: "unavailable",  # MODEL_DEPLOYING
}

_MODEL = "/v2/users/{user}/apps/{app}/models/{model}"


class Clarifai:
    """Pictures, up to 128 a call. Places: `user` and `app`, without which the path is /v2/models/MODEL."""

    name = "clarifai"
    pictures = True
    most = MOST_IMAGES
    routes = (
        *(Route("POST", f"{path}/outputs") for path in (_MODEL, _MODEL + "/versions/{version}", "/v2/models/{model}")),
        Route("GET", _MODEL, "describe"),
    )

    def credential(self, request: HttpRequest) -> str | None:
        """`Key K`; a bearer token is taken as well."""
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        return key.strip() or None if scheme.lower() in ("key", "bearer") else None

    def read(self, request: HttpRequest, interface: Interface) -> Question:
        """See `Wire.read`."""
        fields = parsed_object(unpacked(request, picture_bytes(interface)).body, 100 + 20 * interface.max_batch)
        inputs = member(fields, "inputs", list, [])
        if not inputs:
            raise Problem("bad_request", '`inputs` must be a list of {"data": {"image": {"base64": ...}}}')
        most = min(interface.max_batch, MOST_IMAGES)
        if len(inputs) > most:
            raise Problem("too_large", f"the call has {len(inputs)} inputs; send {most} at most")
        top, minimum = _options(fields)
        return Question(np.stack([_picture(entry, interface) for entry in inputs]), top, minimum)

    def answer(self, question: Question, answer: Answer, interface: Interface) -> HttpReply:
        """See `Wire.answer`. The id of a concept is the number of its class as text."""
        answer = limited(answer, question)
        ids = {name: str(id) for id, name in enumerate(interface.classes)}
        ok = {"code": SUCCESS, "description": "Ok"}
        outputs = []
        for number, row in enumerate(rows_of(answer, interface)):
            concepts = [{"id": ids[entry["name"]], **entry} for entry in entries_of(row, "name", "value")]
            model = {"id": interface.model}
            outputs.append({"id": str(number), "status": ok, "model": model, "data": {"concepts": concepts}})
        return json_reply({"status": ok, "outputs": outputs}, headers=answer_header(answer))

    def refusal(self, problem: Problem) -> HttpReply:
        """See `Wire.refusal`; beside the status stands what simkit's own client reads."""
        status, code = _STATUS[problem.kind]
        about = {"code": code, "description": problem.message, "details": problem.message}
        return json_reply({"status": about, **stated(problem)}, status, retry_header(problem))

    def describe(self, request: HttpRequest, interface: Interface) -> HttpReply:
        """The model with its concepts."""
        concepts = [{"id": str(id), "name": name} for id, name in enumerate(interface.classes)]
        data = {"concepts": concepts}
        model = {"id": interface.model, "model_type_id": "visual-classifier", "output_info": {"data": data}}
        return json_reply({"status": {"code": SUCCESS, "description": "Ok"}, "model": model})

    def ask(self, images: FloatArray, interface: Interface, credential: str | None) -> HttpRequest:
        """See `Wire.ask`; asks for every class."""
        inputs = [{"data": {"image": {"base64": to_base64(image)}}} for image in images]
        config = {"output_config": {"max_concepts": len(interface.classes)}}
        headers = {"content-type": "application/json"}
        if credential is not None:
            headers["authorization"] = f"Key {credential}"
        model = quote(interface.model, safe="")
        user, app = (quote(interface.places.get(name, ""), safe="") for name in ("user", "app"))
        path = _MODEL.format(user=user, app=app, model=model) if user and app else f"/v2/models/{model}"
        return HttpRequest(
            "POST", f"{path}/outputs", headers, to_json({"inputs": inputs, "model": {"output_info": config}})
        )

    def understand(self, reply: HttpReply, images: int, interface: Interface) -> Answer:
        """See `Wire.understand`. A refusal may come with status 200; it is no answer either."""
        value = reply_value(reply, interface, images)
        outputs = value.get("outputs") if isinstance(value, dict) else None
        if not isinstance(outputs, list) or len(outputs) != images or _code(value) not in (SUCCESS, 0):
            raise Problem("failed", f"the service's answer has no `outputs` of {images} images: {message_of(reply)}")
        return answer_of([_row(output) for output in outputs], reply, interface)

    def problem(self, reply: HttpReply) -> Problem:
        """See `Wire.problem`; the code of the status says more than that of HTTP."""
        return stated_problem(reply, _CODES.get(_code(said(reply))))


def _code(value: object) -> int:
    """The code of a reply's status; 0 without one."""
    status = value.get("status") if isinstance(value, dict) else None
    code = status.get("code") if isinstance(status, dict) else None
    return code if isinstance(code, int) else 0


def _options(fields: dict[str, Any]) -> tuple[int, float]:
    """The number of concepts and the lowest value that a caller wants, from either place where clients put them."""
    model = member(fields, "model", dict, {})
    info = member(member(model, "model_version", dict, model), "output_info", dict, {})
    config = member(info, "output_config", dict, {})
    top = member(config, "max_concepts", int, DEFAULT_TOP) or DEFAULT_TOP
    minimum = member(config, "min_value", float, 0.0)
    if not (0.0 <= minimum <= 1.0 and top >= 1):
        raise Problem("bad_request", "min_value must be in [0, 1] and max_concepts 1 or more")
    if member(config, "select_concepts", list, []):
        raise Problem("unsupported", "select_concepts is not supported; every concept is answered")
    return top, float(minimum)


def _picture(entry: object, interface: Interface) -> FloatArray:
    if not isinstance(entry, dict):
        raise Problem("bad_request", 'an input must be {"data": {"image": {"base64": ...}}}')
    image = member(member(entry, "data", dict, {}), "image", dict, {})
    if image.get("url"):
        raise Problem("unsupported", "this service fetches nothing; send the picture itself as `base64`")
    return from_base64(image.get("base64"), interface.image_shape, "base64")


def _row(output: object) -> Row:
    data = output.get("data") if isinstance(output, dict) else None
    return row_of(data.get("concepts") if isinstance(data, dict) else None, "name", "value")
