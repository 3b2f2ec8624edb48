"""Model files that would act, in endless number: every operator that is not allowed, and archives with two faces."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from oracles.model_files.operators import allowed, known
from tests.oracles.model_files.hostile import Plain, code_replaced, rewritten, script

PLACES = ("torch.flatten(x, 1)", "torch.add(rows1, step)", "torch.relu(input)", "torch.linear(input, weight, bias)")
"""Where a call can be hidden in the code of `Plain`: forward, a loop in a branch, a function, a layer."""


@dataclass(frozen=True)
class Hostile:
    """A file. names: what its refusal must name; None where it may as well be a model."""

    suffix: str
    data: bytes
    names: str | None = None


@dataclass(frozen=True)
class Parents:
    """Files that are changed: a plain one of each format, and TorchScript that writes `canary` when it is asked."""

    script: bytes
    exported: bytes
    acting: bytes

    @staticmethod
    def made(exported: bytes, canary: str) -> Parents:
        plain = script(Plain())
        return Parents(plain, exported, code_replaced(plain, PLACES[0], writing(canary)))


def writing(canary: str) -> str:
    """Code that zeroes the first 16 bytes of a file."""
    return f'torch.flatten(torch.mul(x, torch.sum(torch.zero_(torch.from_file("{canary}", True, 16, dtype=0)))), 1)'


def operators(parents: Parents) -> Iterator[Hostile]:
    """A file for each operator of this torch that is not allowed, in each format that can name it."""
    for number, schema in enumerate(torch._C._jit_get_all_schemas()):
        namespace, _, name = schema.name.partition("::")
        if not allowed(namespace, name, schema.overload_name):
            target = f"torch.ops.{namespace}.{name}.{schema.overload_name or 'default'}"
            yield Hostile(".pt2", _with_target(parents.exported, target), target)
            if not (namespace == "aten" and known(name)) and name.isidentifier():
                call = f"torch.{name}(x, x)" if namespace == "aten" else f"ops.{namespace}.{name}(x, x)"
                place = PLACES[number % len(PLACES)]
                call = call.replace("(x, x)", "(input, input)") if "input" in place else call
                yield Hostile(".pt", code_replaced(parents.script, place, call), f"{namespace}::{name}")


def changed(parents: Parents, draw: np.random.Generator) -> Hostile:
    """One file, changed by one or two of the ways below."""
    suffix, data = [(".pt", parents.script), (".pt", parents.acting), (".pt2", parents.exported)][draw.integers(3)]
    for _ in range(int(draw.integers(1, 3))):
        way = _WAYS[int(draw.integers(len(_WAYS)))]
        data = way(data, parents, draw)
    return Hostile(suffix, data)


def _with_target(data: bytes, target: str) -> bytes:
    def change(name: str, held: bytes) -> list[tuple[str, bytes]]:
        if name == "models/model.json":
            program: Any = json.loads(held)
            program["graph_module"]["graph"]["nodes"][0]["target"] = target
            held = json.dumps(program).encode()
        return [(name, held)]

    return rewritten(data, change)


def _flipped(data: bytes, parents: Parents, draw: np.random.Generator) -> bytes:
    held = bytearray(data)
    for at in draw.integers(len(held), size=int(draw.integers(1, 9))):
        held[at] ^= 1 << int(draw.integers(8))
    return bytes(held)


def _members_changed(data: bytes, parents: Parents, draw: np.random.Generator) -> bytes:
    """Members renamed, in another case, twice, or with the bytes of another member or of the file that acts."""
    try:
        names = zipfile.ZipFile(io.BytesIO(data)).namelist()
        chosen, other = draw.choice(names, 2)
        acting = _read(parents.acting, chosen) or b""
        held = _read(data, other) or b""
    except Exception:  # an earlier change broke the archive
        return data
    name = chosen.partition("/")[2]
    news: list[Callable[[bytes], list[tuple[str, bytes]]]] = [
        lambda old: [(name.upper(), old)],
        lambda old: [(name.title(), acting), (name, old)],
        lambda old: [(name, old), (name, acting)],
        lambda old: [(name, acting), (name, old)],
        lambda old: [(name, held)],
        lambda old: [(name, acting)],
        lambda old: [(f"../{name}", old)],
        lambda old: [(name.replace("/", "\\"), old), (name, old)],
        lambda old: [(name, old), (f"{name}\0x", acting)],
        lambda old: [],
    ]
    new = news[int(draw.integers(len(news)))]
    try:
        return rewritten(data, lambda now, old: new(old) if now == name else [(now, old)])
    except Exception:
        return data


def _read(data: bytes, name: str) -> bytes | None:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.read(name) if name in archive.namelist() else None


def _directory_changed(data: bytes, parents: Parents, draw: np.random.Generator) -> bytes:
    """Local headers and the central directory that tell of different members."""
    held, entries = bytearray(data), [at for at in _places(data, b"PK\x01\x02") if at + 46 < len(data)]
    if len(entries) < 2:
        return data
    one, two = (entries[n] for n in draw.choice(len(entries), 2, replace=False))
    match int(draw.integers(6)):
        case 0:  # the directory gives a member the bytes of another
            held[one + 42 : one + 46] = held[two + 42 : two + 46]
        case 1:  # the directory calls a member by another name
            held[one + 46] ^= 0x20
        case 2:  # the local header does
            local = struct.unpack_from("<I", held, one + 42)[0] + 30
            if local < len(held):
                held[local] ^= 0x20
        case 3:  # other sizes
            held[one + 20 + int(draw.integers(8))] ^= 1 << int(draw.integers(8))
        case 4:  # another way of packing, or encrypted
            held[one + 8 + int(draw.integers(4))] ^= 1
        case _:  # the number of members
            end = data.rfind(b"PK\x05\x06")
            held[end + 10] ^= 1 << int(draw.integers(4))
    return bytes(held)


def _places(data: bytes, mark: bytes) -> Iterator[int]:
    at = data.find(mark)
    while at >= 0:
        yield at
        at = data.find(mark, at + 1)


def _joined(data: bytes, parents: Parents, draw: np.random.Generator) -> bytes:
    """Two archives in one file: readers that start at its end and at its beginning see different ones."""
    other = parents.acting
    return [data + other, other + data, data + b"PK\x05\x06" + bytes(18), other[: len(other) // 2] + data][
        int(draw.integers(4))
    ]


_WAYS = (_flipped, _members_changed, _members_changed, _directory_changed, _joined)
