"""Reads TorchScript archives, of which every part is checked before torch sees it.

torch runs code of an archive while it loads it: `__setstate__`, default values, operators on numbers and text. It
trusts the pickles, and its zip reader takes names in any case. So the order is: the members by name; the code as text;
the pickles opcode by opcode; then torch is given an archive that is written anew from what was checked, so that no
second reader can find something else in the file. The compiled graphs, which name each operator exactly, are checked
last: all functions, methods and hooks, before any of them runs.
"""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from oracles.errors import ModelError, one_line
from oracles.model_files.torchscript_graphs import check_arguments, check_graphs
from oracles.model_files.torchscript_pickle import checked_pickle
from oracles.model_files.torchscript_source import checked_source
from oracles.model_files.training import check_script

_CODE = re.compile(r"code/__torch__(/\w+)*\.py", re.ASCII)
_KEPT = re.compile(r"(data|constants)/\w+|data\.pkl|constants\.pkl|version|\.data/version|byteorder", re.ASCII)
_LEFT_OUT = re.compile(
    r"code/[\w/]+\.py\.debug_pkl|\.data/serialization_id|extra/[^\\]+|traced_inputs(/\w+|\.pkl)|\.format_version",
    re.ASCII,
)
"""Members that torch.jit.save may write and that loading does not need; torch is not given them."""

_ALLOWANCE = 2**24
"""Bytes that all tensors may take beyond twice what the archive holds, since tensors may share a storage."""


def read_torchscript(path: Path, data: bytes) -> nn.Module:
    """The ScriptModule in `data`, the bytes of the file `path`, on the CPU, before any of its code has run.

    Raises ModelError on what `checked_archive` refuses, and on operators that `oracles.model_files.operators` does not
    list, with the function that calls them.
    """
    try:
        archive = checked_archive(data)
    except ModelError as error:
        raise ModelError(f"{path} is refused: {error}") from error
    except Exception as error:
        raise ModelError(f"{path} is a TorchScript archive that cannot be loaded: {one_line(error)}") from error
    try:
        unit, module = _compiled(archive)
    except Exception as error:
        raise ModelError(f"{path} is a TorchScript archive that cannot be loaded: {one_line(error)}") from error
    try:
        check_graphs(unit)
        if hasattr(module, "forward"):
            check_arguments(module.inlined_graph)
        check_script(module)
    except ModelError as error:
        raise ModelError(f"{path} is refused: {error}") from error
    return module


def checked_archive(data: bytes) -> bytes:
    """An archive written anew from the members of a TorchScript archive, all of them checked.

    Raises ModelError on names that torch.jit.save does not write or that appear twice in any spelling, on code that
    could run while it is loaded, and on pickles of anything but tensors, plain values and the archive's own classes.
    """
    members = _members(data)
    versions = [members[name] for name in ("version", ".data/version") if name in members]
    order = members.get("byteorder", b"little")
    if len(versions) != 1 or re.fullmatch(rb"\d{1,3}\s?", versions[0]) is None or order != b"little":
        raise ModelError("it is of no known version or byte order")
    source = checked_source({name: text for name, text in members.items() if name.startswith("code/")})
    loaded = 0
    for name in ("data", "constants"):
        if f"{name}.pkl" not in members:
            raise ModelError(f"it has no {name}.pkl")
        sizes = {key.partition("/")[2]: len(held) for key, held in members.items() if key.startswith(f"{name}/")}
        loaded += checked_pickle(members[f"{name}.pkl"], sizes, source)
    if loaded > 2 * len(data) + _ALLOWANCE:
        raise ModelError(f"its tensors would take {loaded:,} bytes, which its {len(data):,} do not hold")
    return _written(members | {name: text.encode() for name, text in source.texts.items()})


def _members(data: bytes) -> dict[str, bytes]:
    """Every member that loading needs, by its name below the one root folder."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        infos = archive.infolist()
        roots = {info.filename.partition("/")[0] for info in infos}
        names = [info.filename.partition("/")[2] for info in infos]
        if len(roots) != 1:
            raise ModelError(f"its members lie in {len(roots)} folders, not in one")
        if len({name.casefold() for name in names}) != len(names):
            raise ModelError("it has a member twice, in one spelling or another")
        for name in names:
            if not (_KEPT.fullmatch(name) or _CODE.fullmatch(name) or _LEFT_OUT.fullmatch(name)):
                raise ModelError(f"it has the member {name[:80]!r}, which torch.jit.save does not write")
        kept = zip(names, infos, strict=True)
        return {name: archive.read(info) for name, info in kept if _LEFT_OUT.fullmatch(name) is None}


def _written(members: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, held in members.items():
            archive.writestr(f"archive/{name}", held)
    return stream.getvalue()


def _compiled(archive: bytes) -> tuple[Any, nn.Module]:
    """What `torch.jit.load` makes of an archive, and the unit that holds all functions that were compiled for it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that TorchScript is to be replaced by torch.export
        unit: Any = torch._C.CompilationUnit()
        load: Callable[..., Any] = torch._C.import_ir_module_from_buffer
        imported = load(unit, archive, torch.device("cpu"), {}, False)
        wrapped: Callable[[Any], nn.Module] = torch.jit._recursive.wrap_cpp_module
        return unit, wrapped(imported)
