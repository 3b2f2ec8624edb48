"""What a service says about its model before any query: shape, classes, datatype, batch limit. It costs nothing."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from urllib.parse import quote

from oracles.errors import ModelError, Unanswered
from oracles.oracle import ImageShape
from oracles.remote.caller import key_refused
from oracles.remote.credentials import ApiKey
from oracles.remote.exchange import Exchanges, Lost, NotSent
from oracles.remote.target import Target
from oracles.wire.contract import HttpReply, HttpRequest

_MOST = 1 << 22
"""Bytes of a description: 100,000 names of classes fit."""

_MOST_CLASSES, _MOST_PIXELS = 1 << 20, 1 << 28

_TRIES, _PAUSE = 4, 0.5

_ANSWERS = re.compile(r"scores|label|top[1-9]\d{0,5}", re.ASCII)

_FORMATS = "hf:URL, rekognition:ARN, customvision:URL, vertex:URL, clarifai:URL or template:FILE.toml"


@dataclass(frozen=True)
class Described:
    """What a service says about a model; None where it says nothing.

    answers: the kind of its answers, `scores`, `label`, or `top3` and the like, which simkit's service states.
    """

    image_shape: ImageShape | None = None
    classes: tuple[str, ...] | None = None
    n_classes: int | None = None
    max_batch: int | None = None
    datatype: Literal["FP32", "UINT8"] = "FP32"
    places: Mapping[str, str] = field(default_factory=dict)
    answers: str | None = None


def described(target: Target, connection: Exchanges, key: ApiKey) -> Described:
    """What the service says, by the routes of its format. Raises ModelError where there is no such model.

    A service need not say anything, except by the Open Inference Protocol, whose metadata must be there.
    """
    if target.image_shape is not None:
        return Described(target.image_shape, target.classes, None, target.batch)
    asked = _Asked(target, connection, key)
    reader = {"oip": _oip, "hf": _hugging_face, "clarifai": _clarifai}.get(target.wire.name)
    return Described() if reader is None else replace(reader(asked), answers=asked.answers)


class _Asked:
    """Questions about a model, with the header by which its format carries the key."""

    def __init__(self, target: Target, connection: Exchanges, key: ApiKey) -> None:
        self.target, self._connection, self._key = target, connection, key
        self.answers: str | None = None

    def get(self, path: str) -> HttpReply:
        """The reply to GET; a lost one is asked for again, since a description costs nothing."""
        headers = {"accept": "application/json"} | self._credential()
        for tries in range(_TRIES):
            last = tries == _TRIES - 1
            try:
                reply = self._connection.exchange(HttpRequest("GET", path, headers), _MOST)
            except (NotSent, Lost) as error:
                if last:
                    raise Unanswered(f"{self.target.host} does not answer: {error}") from None
            else:
                if last or reply.status not in (429, 500, 502, 503, 504):
                    stated = reply.headers.get("simkit-answers", "")
                    self.answers = stated if _ANSWERS.fullmatch(stated) else self.answers
                    return reply
            time.sleep(_PAUSE * (tries + 1))
        raise AssertionError("unreachable")

    def _credential(self) -> dict[str, str]:
        if self._key.text is None:
            return {}
        scheme = "Key" if self.target.wire.name == "clarifai" else "Bearer"
        return {"authorization": f"{scheme} {self._key.text}"}

    def problem(self, reply: HttpReply) -> ModelError | None:
        """What keeps the model from being used, if the reply says so."""
        problem = self.target.wire.problem(self._key.out_of(reply))
        said = self._key.without(problem.message)
        if problem.kind in ("unauthorized", "expired", "banned"):
            return ModelError(key_refused(self.target.host, said, self._key))
        if problem.kind == "unknown_model":
            hint = f"check the address; for another format write {_FORMATS}"
            return ModelError(f"{self.target.host} has no model {self.target.model!r} ({said}); {hint}")
        return None


def _oip(asked: _Asked) -> Described:
    version = asked.target.places.get("version")
    path = f"/v2/models/{quote(asked.target.model, safe='')}"
    path = path if version is None else f"{path}/versions/{quote(version, safe='')}"
    reply = asked.get(path)
    if reply.status != 200:
        raise asked.problem(reply) or ModelError(
            f"{asked.target.host} does not describe the model: {asked.target.wire.problem(reply).message}"
        )
    about = _object(reply)
    if "name" not in about and "inputs" not in about:
        where = f"{asked.target.host} is no service of the Open Inference Protocol"
        raise ModelError(f"{where}: its reply does not describe a model; for another format write {_FORMATS}")
    config = _object(asked.get(f"{path}/config"))
    entry, output = _only_input(about, asked.target.host), _first(about.get("outputs"))
    parameters = _mapping(about.get("parameters"))
    classes = _names(parameters.get("classes"))
    counted = _sizes(output.get("shape"))[-1:]
    return Described(
        image_shape=_shape(_sizes(entry.get("shape"))),
        classes=classes,
        n_classes=len(classes) if classes else next((size for size in counted if 2 <= size <= _MOST_CLASSES), None),
        max_batch=_count(parameters.get("max_batch_size")) or _count(config.get("max_batch_size")),
        datatype=_datatype(entry.get("datatype"), asked.target.host),
        places={"input": str(entry["name"])[:200]} if isinstance(entry.get("name"), str) else {},
    )


def _only_input(about: Mapping[str, Any], host: str) -> Mapping[str, Any]:
    inputs = about.get("inputs")
    if isinstance(inputs, list) and len(inputs) > 1:
        raise ModelError(f"{host}: the model has {len(inputs)} inputs; one of images is supported")
    return _first(inputs)


def _datatype(stated: object, host: str) -> Literal["FP32", "UINT8"]:
    if stated in (None, "FP32"):
        return "FP32"
    if stated == "UINT8":
        return "UINT8"
    raise ModelError(f"{host}: the model takes {str(stated)[:20]}; FP32 images in [0, 1] and UINT8 are supported")


def _hugging_face(asked: _Asked) -> Described:
    """The configuration of a model, as simkit's service gives it; others describe no model at this path."""
    reply = asked.get(asked.target.places["path"])
    if reply.status != 200:
        if reply.status == 401 and (error := asked.problem(reply)) is not None:
            raise error
        return Described()
    about = _object(reply)
    labels, size = _mapping(about.get("id2label")), _mapping(about.get("image_size"))
    names = [labels.get(str(id)) for id in range(len(labels))]
    shape = [_count(value) for value in (about.get("num_channels"), size.get("height"), size.get("width"))]
    return Described(image_shape=_shape([n for n in shape if n is not None]), classes=_names(names))


def _clarifai(asked: _Asked) -> Described:
    """The concepts of a model."""
    places = {name: quote(value, safe="") for name, value in asked.target.places.items()}
    model = quote(asked.target.model, safe="")
    reply = asked.get(f"/v2/users/{places['user']}/apps/{places['app']}/models/{model}")
    if reply.status != 200:
        if reply.status in (401, 404) and (error := asked.problem(reply)) is not None:
            raise error
        return Described()
    info = _mapping(_mapping(_mapping(_object(reply).get("model")).get("output_info")).get("data"))
    concepts = info.get("concepts")
    names = [_mapping(concept).get("name") for concept in concepts] if isinstance(concepts, list) else None
    return Described(classes=_names(names))


def _object(reply: HttpReply) -> Mapping[str, Any]:
    """The JSON object in a reply of status 200; empty where there is none."""
    if reply.status != 200:
        return {}
    try:
        return _mapping(json.loads(reply.body))
    except (ValueError, RecursionError):
        return {}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _first(value: object) -> Mapping[str, Any]:
    return _mapping(value[0]) if isinstance(value, list) and value else {}


def _count(value: object) -> int | None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and isinstance(value, int) and 1 <= value <= 1 << 30 else None


def _sizes(value: object) -> list[int]:
    """The sizes of a shape, -1 for those that are open or strange."""
    return [_count(size) or -1 for size in value] if isinstance(value, list) else []


def _shape(sizes: list[int]) -> ImageShape | None:
    """The last three sizes, without that of the batch; None where they are not stated."""
    if len(sizes) not in (3, 4) or min(sizes[-3:]) < 1 or sizes[-3] * sizes[-2] * sizes[-1] > _MOST_PIXELS:
        return None
    return sizes[-3], sizes[-2], sizes[-1]


def _names(value: object) -> tuple[str, ...] | None:
    """Names of classes: texts, each once."""
    if not isinstance(value, list) or not 2 <= len(value) <= _MOST_CLASSES:
        return None
    if not all(isinstance(name, str) for name in value) or len(set(value)) < len(value):
        return None
    return tuple(value)
