"""Reads the pickle in a file of torch.save without importing or calling anything that it names."""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, ClassVar

import torch

from oracles.errors import ModelError, one_line
from oracles.model_files.archives import members_of
from oracles.model_files.pickles import SteadyUnpickler
from oracles.outside import MODEL_BYTES, read_outside

_DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


_ALLOWANCE = 2**24
"""Bytes that tensors may take beyond twice the file, for those that share a storage."""


class Inert:
    """A placeholder for an object of any class; it stores and does nothing, whatever a pickle calls on it."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def __call__(self, *_: object, **__: object) -> Inert:
        return self

    def __setstate__(self, state: object) -> None: ...

    def __setitem__(self, key: object, value: object) -> None: ...

    def add(self, _: object) -> None: ...

    def append(self, _: object) -> None: ...

    def extend(self, _: object) -> None: ...


def read_inert(path: Path) -> Any:
    """The dicts, lists, numbers, text and tensors in a file of torch.save; every other object is an `Inert`.

    Raises ModelError for a damaged file, and for files of torch before 1.6, which are no zip archives.
    """
    try:
        data = read_outside(path, MODEL_BYTES).data
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from error
    if not members_of(path, data):
        raise ModelError(f"{path} is no zip archive of torch.save; with torch 1.6 or newer, load it and save it again")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            (pickled,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
            with archive.open(pickled) as stream:
                return _Reader(stream, archive, pickled.removesuffix("data.pkl")).load()
    except Exception as error:  # reading invalid bytes may raise anything
        raise ModelError(f"{path} is damaged or no file of torch.save: {one_line(error)}") from error


class _Reader(SteadyUnpickler):
    """An unpickler that knows tensors and ordered dicts only; its `find_class` never imports anything."""

    keys: ClassVar[tuple[type, ...]] = (*SteadyUnpickler.keys, Inert)

    def __init__(self, stream: Any, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(stream)
        self._archive, self._root = archive, root
        self._room = 2 * sum(info.file_size for info in archive.infolist()) + _ALLOWANCE
        self._storages: dict[tuple[str, torch.dtype], torch.Tensor] = {}

    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module_name == "torch._utils":
            return {"_rebuild_tensor_v2": self._tensor, "_rebuild_parameter": _parameter}.get(global_name, Inert)
        if module_name == "torch" and global_name in _DTYPES:
            return _DTYPES[global_name]
        return Inert

    def persistent_load(self, pid: Any) -> torch.Tensor:
        """All values of one storage as a flat tensor."""
        kind, dtype, key, _, count = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise pickle.UnpicklingError("a storage of no known type")
        if (key, dtype) not in self._storages:
            data = bytearray(self._archive.read(f"{self._root}data/{key}"))
            flat = torch.frombuffer(data, dtype=dtype, count=count) if count else torch.zeros(0, dtype=dtype)
            self._storages[key, dtype] = flat
        return self._storages[key, dtype]

    def _tensor(
        self, flat: torch.Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object
    ) -> torch.Tensor:
        self._room -= math.prod(size) * flat.element_size()
        if math.prod(size) > len(flat) or self._room < 0:
            raise pickle.UnpicklingError("tensors of more values than the file holds")
        return torch.as_strided(flat, size, stride, offset).clone()


def _parameter(data: torch.Tensor, *_: object) -> torch.Tensor:
    return data
