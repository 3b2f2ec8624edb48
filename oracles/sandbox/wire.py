"""Messages between a process and the child that runs a model for it: a JSON header, then bytes.

Nothing is unpickled on either side, and the receiver states how much it takes.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Mapping
from typing import Any

import torch

from oracles.errors import OracleError

_SIZES = struct.Struct("<IQ")
_MOST_OF_A_HEADER = 2**20

_FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_OTHERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)
DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in (*_FLOATS, *_OTHERS)}
"""Types of tensors that are sent, by name."""


class Ended(OracleError):
    """The other side closed the connection, or it does not keep to the format."""


def send(fd: int, header: Mapping[str, Any], payload: bytes | memoryview = b"") -> None:
    """Send one message. Raises Ended."""
    said, payload = json.dumps(header).encode(), memoryview(payload)
    try:
        _write(fd, memoryview(_SIZES.pack(len(said), len(payload)) + said))
        _write(fd, payload)
    except OSError as error:
        raise Ended("the connection is closed") from error


def receive(fd: int, most: int) -> tuple[dict[str, Any], bytearray]:
    """Wait for one message, interruptible by a signal. most: bytes that are taken after the header. Raises Ended."""
    header_bytes, payload_bytes = _SIZES.unpack(_read(fd, _SIZES.size))
    if header_bytes > _MOST_OF_A_HEADER or payload_bytes > most:
        raise Ended(f"a message of {header_bytes:,} and {payload_bytes:,} bytes is too large")
    try:
        header = json.loads(_read(fd, header_bytes))
    except (ValueError, RecursionError) as error:
        raise Ended("a message is not in the format") from error
    if not isinstance(header, dict):
        raise Ended("a message is not in the format")
    return header, _read(fd, payload_bytes)


def packed(tensor: torch.Tensor) -> tuple[dict[str, Any], memoryview]:
    """A tensor as the part of a header that says what it is, and its values."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    values = flat.view(torch.uint8).numpy().data if flat.numel() else memoryview(b"")
    return {"dtype": str(tensor.dtype).removeprefix("torch."), "shape": list(tensor.shape)}, values


def packed_all(tensors: Mapping[str, torch.Tensor]) -> tuple[dict[str, Any], memoryview]:
    """Several tensors by name, one after another, as `packed`."""
    parts = {name: packed(tensor) for name, tensor in tensors.items()}
    values = b"".join(values for _, values in parts.values())
    return {"tensors": [[name, header] for name, (header, _) in parts.items()]}, memoryview(values)


def unpacked_all(header: Mapping[str, Any], payload: bytearray) -> dict[str, torch.Tensor]:
    """The tensors that were packed by name. Raises Ended as `unpacked`."""
    tensors, start = {}, 0
    for entry in header["tensors"] if isinstance(header["tensors"], list) else ():
        if not isinstance(entry, list) or len(entry) != 2 or not isinstance(entry[1], dict):
            raise Ended("a message is not in the format")
        size = _size(entry[1])
        tensors[str(entry[0])] = unpacked(entry[1], payload[start : start + size])
        start += size
    if not tensors or start != len(payload):
        raise Ended("a message is not in the format")
    return tensors


def unpacked(header: Mapping[str, Any], payload: bytearray) -> torch.Tensor:
    """The tensor that was packed; it shares the memory of `payload`. Raises Ended where the two do not agree."""
    dtype, shape = _said(header)
    if _size(header) != len(payload):
        raise Ended(f"{len(payload):,} bytes are no {header['dtype']} of shape {tuple(shape[:8])}")
    return torch.frombuffer(payload, dtype=dtype).reshape(shape) if payload else torch.empty(shape, dtype=dtype)


def _said(header: Mapping[str, Any]) -> tuple[torch.dtype, list[int]]:
    dtype, shape = DTYPES.get(str(header.get("dtype"))), header.get("shape")
    if dtype is None or not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        raise Ended("a message is not in the format")
    return dtype, shape


def _size(header: Mapping[str, Any]) -> int:
    dtype, shape = _said(header)
    return math.prod(shape) * dtype.itemsize


def _write(fd: int, rest: memoryview) -> None:
    while rest:
        rest = rest[os.write(fd, rest) :]


def _read(fd: int, size: int) -> bytearray:
    data = bytearray(size)
    rest = memoryview(data)
    while rest:
        try:
            got = os.readv(fd, [rest])
        except OSError as error:
            raise Ended("the connection is closed") from error
        if got == 0:
            raise Ended("the connection is closed")
        rest = rest[got:]
    return data
