"""Reads TorchScript archives, and refuses programs whose operators open files or access memory unchecked."""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from oracles.errors import ModelError, one_line
from oracles.model_files.operators import REFUSED

_AT_LOADING = re.compile(rb"\b__setstate__\b")
_OPERATOR = re.compile(rf"\baten::(?:{REFUSED})\b")


def read_torchscript(path: Path, data: bytes) -> nn.Module:
    """The ScriptModule in `data`, the bytes of the file `path`, on the CPU, before any of its code has run.

    The `__setstate__` of a class runs while an archive is loaded, so an archive with one is refused. Raises ModelError.
    """
    _check_nothing_runs(path, data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns that TorchScript is to be replaced by torch.export
            load: Callable[..., torch.jit.ScriptModule] = torch.jit.load
            module = load(io.BytesIO(data), map_location="cpu")
            graph = str(module.inlined_graph)
    except Exception as error:
        raise ModelError(f"{path} is a TorchScript archive that cannot be loaded: {one_line(error)}") from error
    if operator := _OPERATOR.search(graph):
        raise ModelError(
            f"{path} is refused: its code opens files or unchecked memory ({operator[0]}), which no classifier needs"
        )
    if "prim::CallMethod" in graph:
        raise ModelError(f"{path} is refused: it calls through an interface, so its code cannot be checked")
    return module


def _check_nothing_runs(path: Path, data: bytes) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            code = [archive.read(name) for name in archive.namelist() if "/code/" in name]
    except Exception as error:
        raise ModelError(f"{path} is a TorchScript archive that cannot be loaded: {one_line(error)}") from error
    if any(map(_AT_LOADING.search, code)):
        raise ModelError(f"{path} is refused: it would run code while being loaded (__setstate__); trace it again")
