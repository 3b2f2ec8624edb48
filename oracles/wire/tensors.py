"""Tensors of the Open Inference Protocol, as JSON and as bytes after it, in requests and in replies.

Source: the protocol's REST specification and Triton's binary tensor data extension. A body is a JSON object, which the
header Inference-Header-Content-Length ends; the tensors whose parameters have a `binary_data_size` follow it in order,
little-endian and without padding. An element of BYTES is its length in four bytes and its text.
"""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import to_json

from oracles.wire.bodies import member, parsed_object
from oracles.wire.contract import HttpReply, Problem

HEADER_LENGTH = "inference-header-content-length"

MOST_TENSORS = 64
"""Tensors in one body."""

_DEEPEST = 8

_DTYPES = {
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
    "INT8": "i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "UINT8": "u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
}


@dataclass(frozen=True, eq=False)
class Tensor:
    """One tensor. values: an array of `shape`, read-only where it lies in the body; for BYTES a flat list of texts."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: Any
    parameters: Mapping[str, Any]


def split(headers: Mapping[str, str], body: bytes, values: int) -> tuple[dict[str, Any], memoryview]:
    """The JSON object of a body and the bytes after it. values: as in `parsed`. Raises Problem (`bad_request`)."""
    text = headers.get(HEADER_LENGTH)
    if text is None:
        return parsed_object(body, values), memoryview(b"")
    length = int(text) if text.isascii() and text.isdigit() and len(text) < 12 else len(body) + 1
    if length > len(body):
        raise Problem(
            "bad_request", f"Inference-Header-Content-Length is {text[:20]!r}; the body has {len(body)} bytes"
        )
    whole = memoryview(body)
    return parsed_object(whole[:length], values), whole[length:]


def tensors(entries: Sequence[Any], tail: memoryview, most: int) -> list[Tensor]:
    """The tensors of a list of JSON objects; `tail` must hold exactly those that are not in the JSON.

    most: elements of one tensor. Raises Problem (`bad_request`, `too_large`, `unsupported`).
    """
    if len(entries) > MOST_TENSORS:
        raise Problem("too_large", f"the body has more than {MOST_TENSORS} tensors")
    found, at = [], 0
    for entry in entries:
        if not isinstance(entry, dict):
            raise Problem("bad_request", "a tensor must be a JSON object")
        parameters = member(entry, "parameters", dict, {})
        if "shared_memory_region" in parameters:
            raise Problem("unsupported", "shared memory is not supported; send the tensor in the body")
        size = member(parameters, "binary_data_size", int)
        if size is not None and not 0 <= size <= len(tail) - at:
            raise Problem("bad_request", f"binary_data_size is {size}; {len(tail) - at} bytes are left in the body")
        found.append(_tensor(entry, parameters, None if size is None else tail[at : at + size], most))
        at += size or 0
    if at != len(tail):
        raise Problem("bad_request", f"{len(tail) - at} bytes of the body belong to no tensor; give binary_data_size")
    return found


def _tensor(entry: Mapping[str, Any], parameters: Mapping[str, Any], data: memoryview | None, most: int) -> Tensor:
    name, datatype = member(entry, "name", str, ""), member(entry, "datatype", str, "")
    shape = _shape(member(entry, "shape", list, []), name, most)
    if datatype == "BYTES":
        texts = _json_texts(entry.get("data"), name) if data is None else _binary_texts(data, name, math.prod(shape))
        return Tensor(name, datatype, shape, _counted(texts, shape, name), parameters)
    if datatype not in _DTYPES:
        raise Problem(
            "unsupported", f"the datatype {datatype[:20]!r} of {name[:40]!r} is unknown; choose FP32 or UINT8"
        )
    if data is None:
        numbers: Any = _json_numbers(entry.get("data"), datatype, name)
    else:
        numbers = from_bytes(data, datatype, name)
    return Tensor(name, datatype, shape, _counted(numbers, shape, name).reshape(shape), parameters)


def _shape(sizes: Sequence[Any], name: str, most: int) -> tuple[int, ...]:
    if not 1 <= len(sizes) <= _DEEPEST or not all(type(size) is int and size >= 0 for size in sizes):
        raise Problem("bad_request", f"the shape of {name[:40]!r} must be a list of 1 to {_DEEPEST} sizes of 0 or more")
    if math.prod(sizes) > most:
        fewer = "fewer"
        if len(sizes) == 4:
            fitting = most // math.prod(sizes[1:])
            fewer = f"{fitting} or fewer" if fitting else "smaller"
        raise Problem("too_large", f"{name[:40]!r} has more than {most} elements; send {fewer} images a call")
    return tuple(sizes)


def _counted(values: Any, shape: tuple[int, ...], name: str) -> Any:
    if len(values) != math.prod(shape):
        raise Problem("bad_request", f"{name[:40]!r} has {len(values)} elements; its shape is {list(shape)}")
    return values


def from_bytes(data: memoryview, datatype: str, name: str) -> NDArray[Any]:
    """The elements in `data`, flat and without a copy where their place in memory allows."""
    dtype = np.dtype(_DTYPES[datatype])
    if len(data) % dtype.itemsize:
        raise Problem("bad_request", f"{name[:40]!r} has {len(data)} bytes, which is no multiple of {dtype.itemsize}")
    numbers: NDArray[Any] = np.frombuffer(data, dtype)
    return numbers if numbers.flags.aligned else numbers.copy()


def _flat(data: Any, name: str) -> list[Any]:
    """Nested lists as one list. The protocol allows both; the shape says which elements there must be."""
    if not isinstance(data, list):
        raise Problem("bad_request", f"{name[:40]!r} needs `data`, a list, or a binary_data_size")
    for _ in range(_DEEPEST):
        if not data or not isinstance(data[0], list):
            break
        if not all(isinstance(item, list) for item in data):
            raise Problem("bad_request", f"`data` of {name[:40]!r} mixes lists and single values")
        data = list(chain.from_iterable(data))
    flat: list[Any] = data
    return flat


def _json_numbers(data: Any, datatype: str, name: str) -> NDArray[Any]:
    """array() checks every element's type and range in C; numpy would accept texts and build arrays of them."""
    code = {"f": "d", "i": "q", "u": "Q"}[np.dtype(_DTYPES[datatype]).kind]
    try:
        numbers = np.frombuffer(array(code, _flat(data, name)), {"d": "<f8", "q": "<i8", "Q": "<u8"}[code])
    except (TypeError, OverflowError):
        raise Problem("bad_request", f"`data` of {name[:40]!r} must be numbers of {datatype}") from None
    with np.errstate(all="ignore"):
        cast = numbers.astype(_DTYPES[datatype])
    if code != "d" and not np.array_equal(cast, numbers):
        raise Problem("bad_request", f"`data` of {name[:40]!r} holds numbers beyond those of {datatype}")
    return cast


def _json_texts(data: Any, name: str) -> list[str]:
    texts: list[str] = _flat(data, name)
    if not all(isinstance(text, str) for text in texts):
        raise Problem("bad_request", f"`data` of {name[:40]!r} must be texts")
    return texts


def _binary_texts(data: memoryview, name: str, most: int) -> list[str]:
    """At most `most` + 1 texts, of which `_counted` sees that they are too many."""
    texts: list[str] = []
    at = 0
    while at < len(data) and len(texts) <= most:
        size = int.from_bytes(data[at : at + 4], "little")
        at += 4
        if at + size > len(data):
            raise Problem("bad_request", f"{name[:40]!r} ends within a text")
        texts.append(bytes(data[at : at + size]).decode("utf-8", "replace"))
        at += size
    return texts


def joined(value: Mapping[str, Any], data: Iterable[bytes]) -> tuple[dict[str, str], bytes]:
    """Headers and body of a JSON object and the bytes of its binary tensors; plain JSON without any."""
    text, parts = to_json(value), list(data)
    if not parts:
        return {"content-type": "application/json"}, text
    headers = {"content-type": "application/octet-stream", HEADER_LENGTH: str(len(text))}
    return headers, b"".join((text, *parts))


def reply_of(value: Mapping[str, Any], data: Iterable[bytes]) -> HttpReply:
    """`joined` as a reply of status 200."""
    return HttpReply(200, *joined(value, data))


def written(tensor: Tensor, binary: bool) -> tuple[dict[str, Any], bytes | None]:
    """A tensor as its JSON object and, if `binary`, the bytes that follow the JSON."""
    entry: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
    texts = tensor.values if tensor.datatype == "BYTES" else None
    if binary:
        data = _texts_as_bytes(texts) if texts is not None else tensor.values.tobytes()
        return {**entry, "parameters": {**tensor.parameters, "binary_data_size": len(data)}}, data
    values = texts if texts is not None else tensor.values.ravel().tolist()
    entry |= {"parameters": dict(tensor.parameters)} if tensor.parameters else {}
    return {**entry, "data": values}, None


def _texts_as_bytes(texts: Iterable[str]) -> bytes:
    return b"".join(struct.pack("<I", len(data)) + data for data in (text.encode() for text in texts))
