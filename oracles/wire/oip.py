"""Open Inference Protocol v2 (KServe v2): tensors in JSON or bytes, with Triton's binary and classification extensions.

One input, FP32 in [0, 1] or UINT8 from 0 to 255, (N, C, H, W). Outputs: `scores`, FP32 (N, C), and `classes`, INT32
(N, k), the classes that the service names, the most probable first, -1 for none. Where a service names fewer than all,
the others have the score 0; a service that answers labels only has scores of 1 at the label. A parameter `answer` of
an output says which kind it is (`oracles.answers.codec_of`), so that simkit's own client gets the same answer; other
clients ignore it. Without a list of outputs a caller gets `scores`, and `classes` unless every class has its score.

Places of an interface: `input` and `output` (names of tensors), `version`, and `data`, which is `json` for servers
that read no binary tensors.
"""

from __future__ import annotations

import math
from typing import Any
from urllib.parse import quote

import numpy as np

from oracles.answers import MISSING, Answer, FloatArray, Labels, Scores, TopK, codec_of
from oracles.wire import oip_answers, oip_describe, oip_problems
from oracles.wire.bodies import MOST_BYTES, member, unpacked
from oracles.wire.contract import HttpReply, HttpRequest, Interface, Problem, Question, Route
from oracles.wire.oip_problems import credential
from oracles.wire.tensors import HEADER_LENGTH, Tensor, from_bytes, joined, reply_of, split, tensors, written

INPUT, SCORES, CLASSES = oip_describe.INPUT, oip_describe.SCORES, oip_describe.CLASSES

SPARE = 1 << 16
"""Bytes and values that a request may have beyond its tensor."""

REQUEST_ID = "1"
"""The optional id of every request: KServe fails on an answer without one, and models repeat that of the request. It
is the same for all, so that a retry is the same request."""

JSON_BYTES = 32
"""Bytes of one number in JSON, with what separates it."""


class OpenInference:
    """The wire format `oip`; see the module's text."""

    name = "oip"
    pictures = False
    most = None

    @property
    def routes(self) -> tuple[Route, ...]:
        return oip_describe.ROUTES

    def credential(self, request: HttpRequest) -> str | None:
        """A bearer token, or the password (without one: the name) of basic authentication."""
        return credential(request.headers)

    def read(self, request: HttpRequest, interface: Interface) -> Question:
        """See `Wire.read`. FP32 images that come as bytes lie in the body, read-only, without a copy."""
        pixels = math.prod(interface.image_shape) * interface.max_batch
        plain = unpacked(request, min(MOST_BYTES, SPARE + JSON_BYTES * pixels))
        if plain.headers.get(HEADER_LENGTH) == "0":
            return Question(_raw(plain.body, interface), form={"outputs": (), "binary": True, "id": None})
        head, tail = split(plain.headers, plain.body, SPARE + pixels)
        inputs = tensors(member(head, "inputs", list, []), tail, pixels)
        form = _form(head, interface)
        return Question(_images(inputs, interface), top=_top(form["outputs"], interface), form=form)

    def answer(self, question: Question, answer: Answer, interface: Interface) -> HttpReply:
        """See `Wire.answer`; a request for classes by the extension gets at most that many."""
        entries, data = [], []
        for name, binary, top in question.form["outputs"] or _default(answer, interface, question.form["binary"]):
            entry, part = written(_output(name, top, answer, interface), binary)
            entries.append(entry)
            data += [] if part is None else [part]
        head = {"model_name": interface.model, "model_version": oip_describe.VERSION, "outputs": entries}
        return reply_of(head if question.form["id"] is None else {"id": question.form["id"], **head}, data)

    def refusal(self, problem: Problem) -> HttpReply:
        """{"error": text} as Triton writes it, and beside it what simkit's own client reads: kind and numbers."""
        return oip_problems.refusal(problem)

    def describe(self, request: HttpRequest, interface: Interface) -> HttpReply:
        """Metadata, with the names of the classes as a parameter; Triton's configuration; health."""
        return oip_describe.describe(request, interface)

    def ask(self, images: FloatArray, interface: Interface, credential: str | None) -> HttpRequest:
        """See `Wire.ask`. Sends bytes unless the place `data` is `json`."""
        binary = interface.places.get("data", "binary") != "json"
        pixels: Any = images
        if interface.datatype == "UINT8":
            pixels = np.rint(images * np.float32(255.0)).astype(np.uint8)
        name = interface.places.get("input", INPUT)
        entry, part = written(Tensor(name, interface.datatype, images.shape, np.ascontiguousarray(pixels), {}), binary)
        head: dict[str, Any] = {"id": REQUEST_ID, "inputs": [entry]}
        if binary:
            head["parameters"] = {"binary_data_output": True}
        headers, body = joined(head, [] if part is None else [part])
        if credential is not None:
            headers["authorization"] = f"Bearer {credential}"
        return HttpRequest("POST", f"{_model_path(interface)}/infer", headers, body)

    def understand(self, reply: HttpReply, images: int, interface: Interface) -> Answer:
        """See `Wire.understand`. Numbers are scores, integers are labels, texts are Triton's classification."""
        return oip_answers.understand(reply, images, interface)

    def problem(self, reply: HttpReply) -> Problem:
        """See `Wire.problem`; reads what Triton, KServe, MLServer and simkit itself write."""
        return oip_problems.problem(reply)


def _model_path(interface: Interface) -> str:
    version = interface.places.get("version")
    path = f"/v2/models/{quote(interface.model, safe='')}"
    return path if version is None else f"{path}/versions/{quote(version, safe='')}"


def _raw(body: bytes, interface: Interface) -> FloatArray:
    """The images of a body that is nothing but the tensor; the number of images follows from its length."""
    data = from_bytes(memoryview(body), interface.datatype, interface.places.get("input", INPUT))
    pixels = math.prod(interface.image_shape)
    if len(data) == 0 or len(data) % pixels:
        raise Problem("invalid_images", f"the body has {len(data)} numbers; an image of this model has {pixels}")
    shape = (len(data) // pixels, *interface.image_shape)
    return _images([Tensor("", interface.datatype, shape, data.reshape(shape), {})], interface)


def _images(inputs: list[Tensor], interface: Interface) -> FloatArray:
    name = interface.places.get("input", INPUT)
    if len(inputs) != 1:
        raise Problem("bad_request", f"the request has {len(inputs)} inputs; this model has one, {name!r}")
    tensor = inputs[0]
    if tensor.name not in ("", name):
        raise Problem("bad_request", f"unexpected inference input {tensor.name[:40]!r}; this model has {name!r}")
    if tensor.datatype not in ("FP32", "UINT8"):
        raise Problem("invalid_images", f"the images are {tensor.datatype}; send FP32 in [0, 1] or UINT8")
    if tensor.shape[1:] != interface.image_shape or tensor.shape[0] == 0:
        wanted = ", ".join(map(str, interface.image_shape))
        raise Problem("invalid_images", f"the images have shape {list(tensor.shape)}; this model takes [N, {wanted}]")
    if tensor.shape[0] > interface.max_batch:
        message = f"inference request batch-size must be <= {interface.max_batch} for {interface.model!r}"
        raise Problem("too_large", message)
    if tensor.datatype == "UINT8":
        images: FloatArray = tensor.values.astype(np.float32) / np.float32(255.0)
        return images
    images = tensor.values
    if not (float(images.min()) >= 0.0 and float(images.max()) <= 1.0):
        raise Problem("invalid_images", "pixels must be finite and in [0, 1]: divide 8-bit images by 255 and clip")
    return images


def _form(head: dict[str, Any], interface: Interface) -> dict[str, Any]:
    """How the answer is written: outputs as (name, binary, number of classes or None), the default, the id."""
    binary = member(member(head, "parameters", dict, {}), "binary_data_output", bool, False)
    outputs: list[tuple[str, bool, int]] = []
    for entry in member(head, "outputs", list, []):
        if not isinstance(entry, dict) or len(outputs) == len(oip_describe.names(interface)):
            raise Problem("bad_request", "`outputs` must be a list of one or two objects, each with a name")
        name, parameters = member(entry, "name", str, ""), member(entry, "parameters", dict, {})
        if name not in oip_describe.names(interface):
            message = f"unexpected inference output {name[:40]!r} for model {interface.model!r}"
            raise Problem("bad_request", f"{message}; it has {' and '.join(oip_describe.names(interface))}")
        if "shared_memory_region" in parameters:
            raise Problem("unsupported", "shared memory is not supported; read the output from the body")
        top = member(parameters, "classification", int, 0)
        if top < 0 or (top and name == CLASSES):
            raise Problem("bad_request", f"`classification` of {name!r} must be a number of classes of the scores")
        outputs.append((name, member(parameters, "binary_data", bool, binary), top))
    return {"outputs": tuple(outputs), "binary": binary, "id": member(head, "id", str)}


def _top(outputs: tuple[tuple[str, bool, int], ...], interface: Interface) -> int | None:
    """The number of classes that the caller wants, if it reads nothing but the classification."""
    tops = [top for _, _, top in outputs]
    return min(max(tops), len(interface.classes)) if tops and all(tops) else None


def _default(answer: Answer, interface: Interface, binary: bool) -> tuple[tuple[str, bool, int], ...]:
    names = oip_describe.names(interface)
    return tuple((name, binary, 0) for name in (names[:1] if isinstance(answer, Scores) else names))


def _output(name: str, top: int, answer: Answer, interface: Interface) -> Tensor:
    if top:
        return _classification(name, top, answer, interface)
    parameters = {"answer": codec_of(answer)}
    if name == CLASSES:
        classes, _ = _ranked(answer)
        return Tensor(name, "INT32", classes.shape, classes, parameters)
    values = answer.values if isinstance(answer, Scores) else _dense(answer)
    return Tensor(name, "FP32", values.shape, values, parameters)


def _dense(answer: TopK | Labels) -> FloatArray:
    """A score per class, float32 (N, C): 0 where the service named none."""
    classes, values = _ranked(answer)
    dense = np.zeros((len(answer), answer.n_classes), np.float32)
    rows, ranks = np.nonzero(classes != MISSING)
    dense[rows, classes[rows, ranks]] = values[rows, ranks]
    return dense


def _ranked(answer: Answer) -> tuple[Any, FloatArray]:
    """Classes, int32 (N, k), the most probable first, and their scores; a label has the score 1."""
    if isinstance(answer, TopK):
        return answer.classes, answer.values
    if isinstance(answer, Labels):
        classes = answer.labels[:, None]
        return classes, (classes != MISSING).astype(np.float32)
    classes = np.argsort(-answer.values, axis=1, kind="stable").astype(np.int32)
    return classes, np.take_along_axis(answer.values, classes, axis=1)


def _classification(name: str, top: int, answer: Answer, interface: Interface) -> Tensor:
    """Texts "score:class:name", empty where the service named fewer classes than `top`."""
    classes, values = (array[:, :top] for array in _ranked(answer))
    pairs = zip(classes.ravel().tolist(), values.ravel().tolist(), strict=True)
    texts = ["" if c == MISSING else f"{value:.9g}:{c}:{interface.classes[c]}" for c, value in pairs]
    return Tensor(name, "BYTES", classes.shape, texts, {})
