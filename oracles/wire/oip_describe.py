"""What a service says about itself and its models in the Open Inference Protocol."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

from oracles.wire.bodies import json_reply
from oracles.wire.contract import HttpReply, HttpRequest, Interface, Problem, Route

INPUT, SCORES, CLASSES = "images", "scores", "classes"

VERSION = "1"
"""The version of every model; a request may name any."""

EXTENSIONS = ("binary_tensor_data", "classification", "model_configuration")

_MODEL = ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")

ROUTES = (
    *(Route("POST", f"{path}/infer") for path in _MODEL),
    *(Route("GET", path, "describe") for path in ("/v2", *_MODEL, *(f"{path}/config" for path in _MODEL))),
    *(Route("GET", f"/v2/health/{state}", "health") for state in ("live", "ready")),
    *(Route("GET", f"{path}/ready", "health") for path in _MODEL),
)


def names(interface: Interface) -> tuple[str, str]:
    """The outputs of a model."""
    return (interface.places.get("output", SCORES), CLASSES)


def describe(request: HttpRequest, interface: Interface) -> HttpReply:
    """The reply to a `describe` or `health` route. Raises Problem (`unknown_model`) on any other path."""
    parts = urlsplit(request.target).path.strip("/").split("/")
    if parts == ["v2"]:
        return json_reply({"name": "simkit", "version": version("b3d-simkit"), "extensions": EXTENSIONS})
    if parts[:2] == ["v2", "health"] and parts[2:] in (["live"], ["ready"]):
        return json_reply({parts[2]: True})
    if parts[:2] != ["v2", "models"] or len(parts) < 3:
        raise Problem("unknown_model", "there is nothing at this path; ask /v2/models/NAME")
    rest = parts[5:] if parts[3:4] == ["versions"] and len(parts) > 4 else parts[3:]
    if rest == ["ready"]:
        return json_reply({"name": interface.model, "ready": True})
    if rest == ["config"]:
        return json_reply(_configuration(interface))
    if rest:
        raise Problem("unknown_model", "there is nothing at this path; ask /v2/models/NAME")
    return json_reply(_metadata(interface))


def _metadata(interface: Interface) -> dict[str, Any]:
    scores, classes = names(interface)
    shape = [-1, *interface.image_shape]
    return {
        "name": interface.model,
        "versions": [VERSION],
        "platform": "simkit",
        "inputs": [{"name": interface.places.get("input", INPUT), "datatype": interface.datatype, "shape": shape}],
        "outputs": [
            {"name": scores, "datatype": "FP32", "shape": [-1, len(interface.classes)]},
            {"name": classes, "datatype": "INT32", "shape": [-1, -1]},
        ],
        "parameters": {"classes": interface.classes, "max_batch_size": interface.max_batch},
    }


def _configuration(interface: Interface) -> dict[str, Any]:
    """Triton's model configuration, in which shapes stand without the batch."""
    scores, classes = names(interface)
    data_type = {"FP32": "TYPE_FP32", "UINT8": "TYPE_UINT8"}[interface.datatype]
    dims = list(interface.image_shape)
    return {
        "name": interface.model,
        "platform": "simkit",
        "backend": "simkit",
        "max_batch_size": interface.max_batch,
        "input": [{"name": interface.places.get("input", INPUT), "data_type": data_type, "dims": dims}],
        "output": [
            {"name": scores, "data_type": "TYPE_FP32", "dims": [len(interface.classes)]},
            {"name": classes, "data_type": "TYPE_INT32", "dims": [-1]},
        ],
    }
