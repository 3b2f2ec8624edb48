"""Follows the pickles of torch.save without building what they name, and counts what torch would allocate for them.

torch's reader of plain weights (`weights_only`) imports nothing, but takes sizes on trust: `bytearray` and the types of
tensors make room for any number, a storage of the old format is as large as it states, and a tensor that is larger than
its storage makes the storage grow. So a file of 127 bytes may take gigabytes.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

_SIZES = {
    **{"Double": 8, "Float": 4, "Half": 2, "BFloat16": 2, "Long": 8, "Int": 4, "Short": 2, "Char": 1, "Byte": 1},
    **{"Bool": 1, "ComplexDouble": 16, "ComplexFloat": 8, "QInt8": 1, "QUInt8": 1, "QInt32": 4},
    **{"QUInt4x2": 1, "QUInt2x4": 1},
}
"""Bytes of one value of each type of storage."""

_TENSORS = ("tensor", "tensor_v2", "tensor_v3", "qtensor")

_ALLOWANCE = 2**24
"""Bytes that tensors may take beyond twice the file, for those that share a storage or repeat one value."""

_PICKLES = 4
"""An old file begins with four: a number, the version, the machine, and the weights."""

_NO_SIZES = frozenset(
    {
        *("torch.device", "torch.serialization._get_layout", "torch.nn.parameter.Parameter", "builtins.complex"),
        *("torch._utils._rebuild_sparse_tensor", "torch._utils._rebuild_meta_tensor_no_storage"),
    }
)
"""Names of what takes no more memory than its arguments do."""


class SteadyUnpickler(pickle._Unpickler):
    """The reader of pickles that is written in Python, none of whose steps takes more room or time than its bytes do.

    That in C makes room for as many values as a pickle states. keys: types of keys of a dict, whose hash is quick: that
    of a tuple that holds a tuple twice, and so on, takes for ever. The state of an object is dropped.
    """

    keys: ClassVar[tuple[type, ...]] = (str, int, float, bytes, type(None))
    stack: list[Any]
    pop_mark: Callable[[], list[Any]]
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)

    def _build(self) -> None:
        self.stack.pop()  # a state is no larger than what was there to build it

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._put(key, value)

    def _dict(self) -> None:
        items = self.pop_mark()
        self.stack.append({})
        self._put_all(items)

    def _set_items(self) -> None:
        self._put_all(self.pop_mark())

    def _put_all(self, items: list[Any]) -> None:
        for key, value in zip(items[::2], items[1::2], strict=True):
            self._put(key, value)

    def _put(self, key: object, value: object) -> None:
        if not isinstance(key, self.keys):
            raise pickle.UnpicklingError(f"a key that is a {type(key).__name__}")
        self.stack[-1][key] = value

    def _refused(self) -> None:
        raise pickle.UnpicklingError("an operation that torch.save does not write")

    dispatch[pickle.BUILD[0]] = _build
    dispatch[pickle.DICT[0]] = _dict
    dispatch[pickle.SETITEM[0]] = _set_item
    dispatch[pickle.SETITEMS[0]] = _set_items
    for _opcode in (pickle.BYTEARRAY8, pickle.FROZENSET, pickle.ADDITEMS, pickle.INST, pickle.OBJ):
        dispatch[_opcode[0]] = _refused


class _Plain:
    """Stands for a value that takes no memory by its arguments."""

    def __init__(self, *_: object, **__: object) -> None: ...


@dataclass(frozen=True)
class _Storage:
    values: int
    width: int


class _Tensor:
    """Stands for a tensor."""


def check_pickles(data: bytes) -> None:
    """Raise pickle.UnpicklingError for a file of torch.save that holds anything but weights, numbers and text.

    ValueError: it would take more memory than its bytes explain. Errors of other types mean that it is damaged.
    """
    if data.startswith(b"PK\x03\x04"):  # so torch itself tells the formats apart
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            pickled, sizes = _members(archive)
        _Follower(io.BytesIO(pickled), len(data), sizes).load()
        return
    stream = io.BytesIO(data)
    for _ in range(_PICKLES):
        _Follower(stream, len(data), None).load()


def _members(archive: zipfile.ZipFile) -> tuple[bytes, dict[str, int]]:
    """The one pickle, and the bytes of each member beside it, by its name below `data/`."""
    names = archive.namelist()
    roots = {name.partition("/")[0] for name in names}
    if len(roots) != 1 or len({name.casefold() for name in names}) != len(names):
        raise pickle.UnpicklingError("its members lie in several folders, or one is there twice")
    (root,) = roots
    beside = f"{root}/data/"
    sizes = {i.filename.removeprefix(beside): i.file_size for i in archive.infolist() if i.filename.startswith(beside)}
    return archive.read(f"{root}/data.pkl"), sizes


class _Follower(SteadyUnpickler):
    """Puts a stand-in for every tensor and storage, and counts what torch would allocate.

    sizes: bytes of each storage by its key; None in the old format, where all of them lie behind the pickles.
    """

    def __init__(self, stream: io.BytesIO, length: int, sizes: Mapping[str, int] | None) -> None:
        super().__init__(stream)
        self._length, self._sizes = length, sizes
        self._storages: dict[str, _Storage] = {}

    def find_class(self, module_name: str, global_name: str) -> Any:
        name = f"{module_name}.{global_name}".replace("__builtin__.", "builtins.")
        builders: dict[str, Any] = {
            **dict.fromkeys(("collections.OrderedDict", "collections.Counter"), OrderedDict),
            **{f"torch._utils._rebuild_{what}": self._tensor for what in _TENSORS},
            **{f"torch._utils._rebuild_{what}": _first for what in ("parameter", "parameter_with_state")},
            "torch._tensor._rebuild_from_type_v2": _of_type,
            "builtins.set": list,
            "torch.Size": tuple,
            "_codecs.encode": _encoded,
        }
        if name in builders:
            return builders[name]
        if module_name in ("torch", "torch.cuda", "torch.storage") and global_name.endswith("Storage"):
            return global_name.removesuffix("Storage")
        if name in _NO_SIZES or (module_name == "torch" and _is_word(global_name)):
            return _Plain
        raise pickle.UnpicklingError(f"{name} is no part of plain weights")

    def persistent_load(self, pid: Any) -> _Storage:
        _, kind, key, _, count, *_ = pid
        width = 1 if kind == "Untyped" else _SIZES[kind]
        held = self._length if self._sizes is None else self._sizes[str(key)]
        storage = self._storages.setdefault(str(key), _Storage(count, width))
        if type(count) is not int or not 0 <= count * width <= held or storage != _Storage(count, width):
            raise ValueError(f"a storage states {count} values, and the file holds {held} bytes")
        if self._sizes is None and sum(s.values * s.width for s in self._storages.values()) > self._length:
            raise ValueError("its storages are larger than the file")
        return storage

    def _tensor(self, storage: _Storage, offset: int, sizes: Any, strides: Any, *_: object) -> _Tensor:
        """A tensor inside of its storage."""
        numbers = (offset, *sizes, *strides)
        if not isinstance(storage, _Storage) or not all(type(n) is int and n >= 0 for n in numbers):
            raise ValueError("a tensor without a storage, or of negative sizes")
        last = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
        taken = math.prod(sizes)
        if taken and (last >= storage.values or taken * storage.width > 2 * self._length + _ALLOWANCE):
            raise ValueError(f"a tensor of {taken} values, and its storage has {storage.values}")
        return _Tensor()


def _first(built: object, *_: object) -> object:
    return built


def _of_type(build: Callable[..., object], _kind: object, arguments: tuple[object, ...], _state: object) -> object:
    return build(*arguments)


def _encoded(text: str, coding: str) -> bytes:
    if coding != "latin1":
        raise pickle.UnpicklingError(f"bytes in {coding!r}")
    return text.encode(coding)


def _is_word(name: str) -> bool:
    """Whether torch has a type of numbers, or a way to quantise, of this name: constants, which are never called."""
    return isinstance(getattr(torch, name, None), torch.dtype | torch.qscheme)
