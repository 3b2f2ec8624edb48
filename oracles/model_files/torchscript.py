"""TorchScript archives: programs of tensor operators, of which those that touch files or memory unseen are refused."""

from __future__ import annotations

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


def read_torchscript(path: Path) -> nn.Module:
    """The ScriptModule in `path`, on the CPU; its code has not run yet. Raises ModelError.

    What a class's `__setstate__` says runs while an archive is loaded, so an archive with one is not loaded.
    """
    _check_nothing_runs(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a format that torch.export should follow
            load: Callable[..., torch.jit.ScriptModule] = torch.jit.load
            module = load(str(path), map_location="cpu")
            graph = str(module.inlined_graph)
    except Exception as error:
        raise ModelError(f"{path} is a TorchScript archive that cannot be loaded: {one_line(error)}") from error
    if found := _OPERATOR.search(graph):
        raise ModelError(
            f"{path} is refused: its code opens files or unchecked memory ({found[0]}); a classifier has no need to"
        )
    if "prim::CallMethod" in graph:
        raise ModelError(f"{path} is refused: it calls through an interface, so what it runs cannot be seen")
    return module


def _check_nothing_runs(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            code = [archive.read(name) for name in archive.namelist() if "/code/" in name]
    except Exception as error:
        raise ModelError(f"{path} is a TorchScript archive that cannot be loaded: {one_line(error)}") from error
    if any(map(_AT_LOADING.search, code)):
        raise ModelError(f"{path} is refused: it would run code while it is loaded (__setstate__); trace it again")
