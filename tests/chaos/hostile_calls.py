"""Calls of the operators that model files may make, with arguments that nobody sane would give."""

from __future__ import annotations

import os
import resource
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import torch

from oracles.model_files.operators import DECIDED, allowed, argument_allowed

_SHAPES: tuple[tuple[int, ...], ...] = ((), (0,), (1,), (3,), (4, 4), (2, 0, 3), (1, 1, 1), (3, 4, 5), (1, 3, 8, 8))
_SHAPES += ((2, 3, 5, 5), (6, 3, 1, 1), (16, 16, 3, 3), (1, 2, 3, 4, 5))
_TYPES: tuple[torch.dtype, ...] = (torch.float32,) * 6 + (torch.int64,) * 3
_TYPES += (torch.bool, torch.uint8, torch.float64, torch.int32, torch.float16, torch.bfloat16, torch.complex64)
_SMALL = (0, 1, 2, 3, -1, -2, 4, 5, 8)
_LARGE = (-100, 1000, 2**31 - 1, 2**31, -(2**31), 2**62, 2**63 - 1, -(2**63))
_FLOATS = (0.0, 1.0, -1.0, 0.5, 1e-30, 1e30, float("nan"), float("inf"), -float("inf"))
_TEXTS = ("", "none", "tanh", "mean", "sum", "floor", "same", "ij", "reflect", "bij,bjk->bik", "...,...->...", "a" * 50)
_DECIDED = {name: [v for v in (*range(40), 2.0**-6, 0.3, 64.0) if argument_allowed(name, v)] for name in DECIDED}
_SECONDS, _MEMORY = 6, 12 * 2**30


def overloads() -> list[Any]:
    """The schema of every overload of torch's that a model file may call and Python can."""
    known = sorted(torch._C._jit_get_all_schemas(), key=str)
    schemas = [s for s in known if s.name.startswith("aten::") and allowed("aten", s.name[6:], s.overload_name)]
    return [schema for schema in schemas if called(schema) is not None]


def called(schema: Any) -> Any:
    packet = getattr(torch.ops.aten, schema.name.removeprefix("aten::"), None)
    return getattr(packet, schema.overload_name or "default", None)


def call_all(notes: Path, first: int, most: int, times: int) -> None:
    """Call overloads from number `first` on, `times` each. Leaves in `notes` the number of the current one, or `most`.

    In a process of its own: one that takes too long ends by SIGALRM, and one that reads beyond its memory by SIGSEGV.
    """
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    for number, schema in enumerate(overloads()[:most]):
        if number >= first:
            notes.write_text(str(number))
            signal.alarm(_SECONDS)
            for draw in range(times):
                _call(schema, Random(f"{schema.name}.{schema.overload_name} {draw}"))
    signal.alarm(0)
    notes.write_text(str(most))


def _call(schema: Any, draw: Random) -> None:
    given = {argument.name: argument for argument in schema.arguments}
    values = {name: _value(str(argument.type), name, draw) for name, argument in given.items()}
    args = [value for name, value in values.items() if not given[name].kwarg_only]
    try:
        result = called(schema)(*args, **{name: value for name, value in values.items() if given[name].kwarg_only})
        for tensor in _tensors(result):
            tensor.clone().sum()  # reads all of it
    except Exception:  # whatever it says, it says it
        return


def _tensors(result: Any) -> Iterator[torch.Tensor]:
    for value in result if isinstance(result, tuple | list) else [result]:
        if isinstance(value, torch.Tensor) and value.device.type == "cpu" and value.numel() < 10**7:
            yield value


def _value(kind: str, name: str, draw: Random) -> Any:
    """One argument. name: those that are decided on have a value that is allowed."""
    if kind.startswith("Optional["):
        return None if draw.random() < 0.35 else _value(kind[9:-1], name, draw)
    if name in _DECIDED:
        return draw.choice(_DECIDED[name])
    if kind.startswith("List["):
        return [_value(kind[5:-1], name, draw) for _ in range(draw.choice((0, 1, 2, 2, 2, 3, 4, 4, 6)))]
    choices: dict[str, Any] = {"float": _FLOATS, "bool": (False, True), "str": _TEXTS, "Device": (torch.device("cpu"),)}
    if kind == "Tensor":
        return _tensor(draw)
    if kind in ("int", "SymInt"):
        return draw.choice(_SMALL if draw.random() < 0.8 else _LARGE)
    if kind in ("number", "Scalar"):
        return draw.choice((*_SMALL, *_LARGE, *_FLOATS, True))
    return draw.choice(choices[kind]) if kind in choices else None


def _tensor(draw: Random) -> torch.Tensor:
    shape, dtype = draw.choice(_SHAPES), draw.choice(_TYPES)
    if dtype.is_floating_point or dtype.is_complex:
        odd = draw.random() < 0.2
        tensor = torch.full(shape, draw.choice(_FLOATS)).to(dtype) if odd else torch.randn(shape).to(dtype)
    else:
        info = torch.iinfo(dtype) if dtype != torch.bool else None
        tensor = torch.full(shape, draw.choice((0, 1, 7, info.min, info.max) if info else (0, 1)), dtype=dtype)
    if draw.random() < 0.15 and tensor.ndim:
        tensor = tensor.expand(4, *shape)
    return tensor.transpose(0, 1) if draw.random() < 0.1 and tensor.ndim > 1 else tensor
