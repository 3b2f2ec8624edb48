"""The child process: reads one model from the bytes it is sent, and answers images, once it has given up all else."""

from __future__ import annotations

import codecs
import contextlib
import importlib
import os
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from oracles.errors import ModelError
from oracles.fold import Prepared, as_it_is, prepare, rows_of_last_weight
from oracles.model_files.kinds import READERS, Graph, Kind
from oracles.returned import tensors_in
from oracles.sandbox.confine import confine, end_with
from oracles.sandbox.wire import DTYPES, Ended, packed, packed_all, receive, send, unpacked

_CPU = torch.device("cpu")
_LONGEST = 4_000


def main(lines: list[int], life: int, kind: Kind, memory: int) -> None:
    """Serve until the parent closes the connection.

    lines: sockets, a thread for each, of which the first one is used first. life: see `end_with`. kind: of the file, a
    key of READERS. memory: see `confine`.
    """
    end_with(life)
    torch.set_num_threads(1)  # also of the threads below, as in `TorchOracle`; and none but this one runs until then
    _rehearse(kind)
    _close_all_but({0, 1, 2, life, *lines})
    served = _Served(kind, confine(memory))
    for line in lines[1:]:
        threading.Thread(target=_serve, args=(served, line), daemon=True).start()
    _serve(served, lines[0])
    os._exit(0)


def _rehearse(kind: Kind) -> None:
    """Have read now what is read at the first use: libraries, and what torch asks about the processor."""
    codecs.lookup("cp437")  # of names in zip archives
    if kind == "onnx":
        for library in ("onnx", "onnxruntime"):
            with contextlib.suppress(ImportError):  # reading the file reports it
                importlib.import_module(library)
    for dtype in (torch.float32, torch.bfloat16):
        images = torch.ones(1, 4, 8, 8, dtype=dtype)
        rows = torch.nn.functional.conv2d(images, torch.ones(4, 4, 3, 3, dtype=dtype)).flatten(1)
        packed(torch.softmax(rows @ rows.T, dim=1))


def _close_all_but(kept: set[int]) -> None:
    for fd in map(int, os.listdir("/dev/fd")):
        if fd not in kept:
            with contextlib.suppress(OSError):  # the one that lists them is closed already
                os.close(fd)


def _serve(served: _Served, line: int) -> None:
    torch.set_num_threads(1)
    try:
        while True:
            header, payload = receive(line, sys.maxsize)
            try:
                said, values = served.answer(header, payload)
            except Exception as error:
                said, values = _told(error), memoryview(b"")
            send(line, said, values)
    except Ended:
        os._exit(0)


def _told(error: Exception) -> dict[str, Any]:
    """An error as plain values. ours: it says already all that there is to say."""
    return {"error": type(error).__name__, "message": str(error)[:_LONGEST], "ours": isinstance(error, ModelError)}


class _Served:
    """One model, and the forms of it that were asked for: each is made once, and kept."""

    def __init__(self, kind: Kind, missing: list[str]) -> None:
        self._kind, self._missing = kind, missing
        self._graph: Graph | None = None
        self._forms: dict[str, Prepared] = {}

    def answer(self, header: Mapping[str, Any], payload: bytearray) -> tuple[dict[str, Any], memoryview]:
        deeds: dict[str, Callable[..., tuple[dict[str, Any], memoryview]]] = {
            "begin": self._begin,
            "open": self._open,
            "prepare": self._prepare,
            "run": self._run,
        }
        return deeds[header["do"]](header, payload)

    def _begin(self, _: Mapping[str, Any], __: bytearray) -> tuple[dict[str, Any], memoryview]:
        return {"missing": self._missing}, memoryview(b"")

    def _open(self, header: Mapping[str, Any], payload: bytearray) -> tuple[dict[str, Any], memoryview]:
        self._graph = READERS[self._kind](Path(header["path"]), bytes(payload))
        told = {name: value for name, value in vars(self._graph).items() if name != "module"}
        return {**told, "rows": rows_of_last_weight(self._graph.module)}, memoryview(b"")

    def _prepare(self, header: Mapping[str, Any], _: bytearray) -> tuple[dict[str, Any], memoryview]:
        assert self._graph is not None
        name, module = header["form"], self._graph.module
        if name not in self._forms:
            self._forms[name] = prepare(module, _CPU, DTYPES[name]) if name in DTYPES else as_it_is(module, _CPU)
        return {"eager": self._forms[name].eager, "parallel": self._forms[name].parallel}, memoryview(b"")

    def _run(self, header: Mapping[str, Any], payload: bytearray) -> tuple[dict[str, Any], memoryview]:
        form = self._forms[header["form"]]
        returned = form(unpacked(header, payload).to(memory_format=form.layout, copy=True))
        if isinstance(returned, torch.Tensor):
            return packed(returned)
        tensors = tensors_in(returned)
        return packed_all(tensors) if tensors else ({"type": type(returned).__name__}, memoryview(b""))
