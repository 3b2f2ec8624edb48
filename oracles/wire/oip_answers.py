"""The answer in a reply of the Open Inference Protocol, of simkit's own service or of another."""

from __future__ import annotations

from typing import Any

import numpy as np

from oracles.answers import MISSING, Answer, FloatArray, IntArray, Labels, Scores, TopK, codec_of
from oracles.errors import ModelError
from oracles.oracle import check_answer
from oracles.wire.bodies import member
from oracles.wire.contract import HttpReply, Interface, Problem
from oracles.wire.oip_describe import CLASSES, names
from oracles.wire.tensors import Tensor, split, tensors

SPARE = 1 << 18
"""Elements that a reply may have beyond a score and a class per class: other outputs of the model."""

TOLERANCE = 1e-5
"""A softmax in float32 may exceed 1 by rounding; more than this is no probability."""


def understand(reply: HttpReply, images: int, interface: Interface) -> Answer:
    """See `Wire.understand`."""
    most = SPARE + 2 * images * len(interface.classes)
    try:
        head, tail = split(reply.headers, reply.body, most)
        outputs = {tensor.name: tensor for tensor in tensors(member(head, "outputs", list, []), tail, most)}
    except Problem as error:
        raise Problem("failed", f"the reply is no answer of this protocol: {error.message}") from None
    answer = _answer(_chosen(outputs, interface), outputs.get(CLASSES), images, interface)
    try:
        check_answer(answer, images, len(interface.classes))
    except ModelError as error:
        raise Problem("failed", str(error)) from None
    return answer


def _chosen(outputs: dict[str, Tensor], interface: Interface) -> Tensor:
    name = names(interface)[0]
    if name in outputs:
        return outputs[name]
    if "output" in interface.places or not outputs:
        raise Problem("failed", f"the reply has no output {name!r}; it has {sorted(outputs)[:8]}")
    return next(iter(outputs.values()))


def _answer(tensor: Tensor, classes: Tensor | None, images: int, interface: Interface) -> Answer:
    if tensor.datatype == "BYTES":
        return _classified(tensor, images, len(interface.classes))
    if tensor.datatype[:2] != "FP":
        return Labels(_labels(tensor, images), len(interface.classes))
    scores = _scores(tensor, images, len(interface.classes))
    stated = tensor.parameters.get("answer")
    return scores if stated is None else _as_stated(str(stated), scores, classes)


def _scores(tensor: Tensor, images: int, n_classes: int) -> Scores:
    shape = (1, *tensor.shape) if images == 1 and len(tensor.shape) == 1 else tensor.shape
    if shape != (images, n_classes):
        wanted = f"({images}, {n_classes}), images and classes"
        raise Problem("failed", f"the output {tensor.name[:40]!r} has shape {tensor.shape}, not {wanted}")
    with np.errstate(all="ignore"):
        values = tensor.values.reshape(shape).astype(np.float32)
    return Scores(_probabilities(values, tensor.name))


def _probabilities(values: FloatArray, name: str) -> FloatArray:
    if values.size and not (float(values.min()) >= -TOLERANCE and float(values.max()) <= 1.0 + TOLERANCE):
        raise Problem(
            "failed", f"the output {name[:40]!r} holds no probabilities; a softmax of the logits must be served"
        )
    return values


def _labels(tensor: Tensor, images: int) -> IntArray:
    if tensor.shape not in ((images,), (images, 1)):
        raise Problem("failed", f"the output {tensor.name[:40]!r} has shape {tensor.shape}; labels are ({images},)")
    return _ids(tensor.values.ravel())


def _ids(values: Any) -> IntArray:
    """int32; check_answer sees those out of range, which must not wrap around into it."""
    ids: IntArray = np.clip(np.asarray(values, np.float64), MISSING - 1, np.iinfo(np.int32).max).astype(np.int32)
    return ids


def _as_stated(codec: str, scores: Scores, classes: Tensor | None) -> Answer:
    """The scores as the kind of answer that simkit's service says it gave."""
    kind, *numbers = codec[:100].split("/")
    ranked = None if classes is None or classes.datatype != "INT32" else classes.values
    answer: Answer | None = None
    if kind == "scores":
        answer = Scores(scores.values, _floor(numbers))
    elif ranked is not None and ranked.ndim == 2 and len(ranked) == len(scores) and ranked.shape[1] >= 1:
        if kind == "labels":
            answer = Labels(_ids(ranked[:, 0]), scores.n_classes)
        else:
            answer = _top(ranked, scores, _floor(numbers))
    if answer is None or codec_of(answer) != codec:
        raise Problem("failed", f"the reply says that it is {codec[:60]!r}, and its tensors are of another kind")
    return answer


def _floor(numbers: list[str]) -> float:
    """The floor at the end of a codec; 0 for what cannot be one, which is another codec then."""
    try:
        floor = float(numbers[-1])
    except (ValueError, IndexError):
        return 0.0
    return floor if 0.0 <= floor < np.inf else 0.0


def _top(ranked: IntArray, scores: Scores, floor: float) -> TopK | None:
    if ranked.shape[1] > scores.n_classes or ranked.min() < MISSING or ranked.max() >= scores.n_classes:
        return None
    values = np.take_along_axis(scores.values, np.maximum(ranked, 0), axis=1)
    values[ranked == MISSING] = 0.0
    return TopK(ranked.astype(np.int32), values, scores.n_classes, floor)


def _classified(tensor: Tensor, images: int, n_classes: int) -> TopK:
    """Triton's classification: texts "score:class" or "score:class:name", the most probable first."""
    shape = (1, *tensor.shape) if images == 1 and len(tensor.shape) == 1 else tensor.shape
    if len(shape) != 2 or shape[0] != images or not 1 <= shape[1] <= n_classes:
        raise Problem("failed", f"the output {tensor.name[:40]!r} has shape {shape}; it must be ({images}, classes)")
    pairs = [_pair(text) for text in tensor.values]
    classes = _ids(np.array([c for c, _ in pairs], dtype=np.int64)).reshape(shape)
    with np.errstate(all="ignore"):
        values = np.array([value for _, value in pairs], dtype=np.float64).astype(np.float32).reshape(shape)
    return TopK(classes, _probabilities(values, tensor.name), n_classes)


def _pair(text: str) -> tuple[int, float]:
    if not text:
        return MISSING, 0.0
    score, _, rest = text.partition(":")
    number = rest.partition(":")[0]
    try:
        if not (number.isascii() and number.isdigit() and len(number) < 10):
            raise ValueError(number)
        return int(number), float(score)
    except ValueError:
        raise Problem("failed", f"{text[:40]!r} is no class; Triton writes score:class or score:class:name") from None
