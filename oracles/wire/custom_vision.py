"""Azure Custom Vision prediction, version 3.1: classification of one picture.

The picture is the part `imageData` of a form, which Azure's client sends without a file name, or the whole body
(`application/octet-stream`), which the portal recommends. Source: azure-cognitiveservices-vision-customvision 3.1.1.
"""

from __future__ import annotations

import io
import uuid
from functools import lru_cache

from oracles.answers import Answer, FloatArray
from oracles.wire.bodies import json_reply, retry_header
from oracles.wire.contract import HttpReply, HttpRequest, Interface, Kind, Problem, Question, Route
from oracles.wire.pictures import from_picture, to_png
from oracles.wire.replies import reply_value, stated, stated_problem
from oracles.wire.scores import answer_header, answer_of, entries_of, limited, row_of, rows_of

_PATH = "/customvision/v3.1/prediction/{project}/classify/iterations/{model}/"
_MOST_PARTS = 8

_CODES: dict[Kind, tuple[int, str]] = {
    "bad_request": (400, "BadRequest"),
    "invalid_images": (400, "BadRequestImageFormat"),
    "too_large": (413, "BadRequestImageSizeBytes"),
    "unsupported": (415, "UnsupportedMediaType"),
    "unauthorized": (401, "ForbiddenInvalid"),
    "expired": (401, "ForbiddenUserDisabled"),
    "unknown_model": (404, "NotFoundIteration"),
    "rate": (429, "BadRequestExceededQuota"),
    "near_duplicate": (403, "Forbidden"),
    "budget": (403, "BadRequestExceededQuota"),
    "banned": (403, "ForbiddenUserDisabled"),
    "key_reused": (422, "ConflictInvalid"),
    "in_progress": (409, "Conflict"),
    "unavailable": (503, "ErrorPredictionServiceUnavailable"),
    "failed": (500, "ErrorPrediction"),
}
"""Status and code of each kind; the codes are those of Azure's client."""


class CustomVision:
    """One picture a call; pictures are not stored by `/image` either. Addresses of pictures (`/url`) are refused.

    places: `project`, a UUID in the path, or `path`, where the caller's URL has another one.
    """

    name = "customvision"
    pictures = True
    most = 1
    routes = tuple(Route("POST", _PATH + end) for end in ("image", "image/nostore", "url", "url/nostore"))

    def credential(self, request: HttpRequest) -> str | None:
        return request.headers.get("prediction-key", "").strip() or None

    def read(self, request: HttpRequest, interface: Interface) -> Question:
        path = request.target.partition("?")[0].rstrip("/").removesuffix("/nostore")
        if path.endswith("/url"):
            raise Problem("unsupported", "pictures are not fetched; send the picture itself to .../image")
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        data = _image_data(request) if kind == "multipart/form-data" else request.body
        return Question(from_picture(data, interface.image_shape)[None])

    def answer(self, question: Question, answer: Answer, interface: Interface) -> HttpReply:
        """Ids are derived from names, so that the same answer is the same bytes; there is no time of creation."""
        answer = limited(answer, question)
        (row,) = rows_of(answer, interface)
        predictions = [
            {**entry, "tagId": _id(interface.model, str(entry["tagName"])), "tagType": "Regular"}
            for entry in entries_of(row, "tagName", "probability")
        ]
        project = interface.places.get("project") or _id(interface.model, "project")
        about = {"id": _id(interface.model, "prediction"), "project": project, "iteration": _id(interface.model)}
        return json_reply({**about, "predictions": predictions}, headers=answer_header(answer))

    def refusal(self, problem: Problem) -> HttpReply:
        status, code = _CODES[problem.kind]
        body = {"code": code, "message": problem.message, **stated(problem)}
        return json_reply(body, status, retry_header(problem))

    def describe(self, request: HttpRequest, interface: Interface) -> HttpReply:
        return self.refusal(Problem("unsupported", "this protocol has no route that describes a model"))

    def ask(self, images: FloatArray, interface: Interface, credential: str | None) -> HttpRequest:
        (image,) = images
        project = interface.places.get("project") or _id(interface.model, "project")
        path = interface.places.get("path") or _PATH.format(project=project, model=interface.model) + "image/nostore"
        headers = {"content-type": "application/octet-stream", "accept": "application/json"}
        if credential is not None:
            headers["prediction-key"] = credential
        return HttpRequest("POST", path, headers, to_png(image))

    def understand(self, reply: HttpReply, images: int, interface: Interface) -> Answer:
        body = reply_value(reply, interface)
        predictions = body.get("predictions") if isinstance(body, dict) else None
        return answer_of([row_of(predictions, "tagName", "probability")], reply, interface)

    def problem(self, reply: HttpReply) -> Problem:
        return stated_problem(reply)


@lru_cache(maxsize=4096)  # a reply needs one per class, and an id takes longer than all else
def _id(*names: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(("simkit", *names))))


def _image_data(request: HttpRequest) -> bytes:
    """The part `imageData` of a form; only the first part of that name counts."""
    try:
        from multipart import MultipartParser, parse_options_header  # an extra; only services read forms
    except ImportError:
        raise Problem("failed", "the service cannot read forms; install simkit with its extra [serve]") from None
    boundary = parse_options_header(request.headers.get("content-type", ""))[1].get("boundary")
    if not boundary:
        raise Problem("bad_request", "the content type multipart/form-data has no boundary")
    size = len(request.body) + 1
    try:
        form = MultipartParser(
            io.BytesIO(request.body), boundary, part_limit=_MOST_PARTS, spool_limit=size, memory_limit=size
        )
        part = next((part for part in form.parts() if part.name == "imageData"), None)
        data = None if part is None else bytes(part.raw)
    except ValueError as error:  # MultipartError, and bytes that are no text where text is due
        raise Problem("bad_request", f"the form cannot be read: {error}") from None
    if data is None:
        raise Problem("bad_request", "the form has no part 'imageData'; send the picture as that")
    return data
