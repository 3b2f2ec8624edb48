"""Checks the pickles of a TorchScript archive opcode by opcode, and their values by the types that the code states.

torch's own reader trusts them: a tensor larger than its storage, or an object of another class than the code expects,
is read beyond its memory. Nothing is built here but a description of what torch would build.
"""

from __future__ import annotations

import ast
import math
import pickletools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from oracles.errors import ModelError
from oracles.model_files.torchscript_source import Source

_STORAGES = {"Double": 8, "Float": 4, "Half": 2, "BFloat16": 2, "Long": 8, "Int": 4, "Short": 2, "Char": 1, "Byte": 1}
_STORAGES |= {"Bool": 1, "ComplexFloat": 8, "ComplexDouble": 16}
_LISTS = {"build_intlist": "int", "build_doublelist": "float", "build_boollist": "bool", "build_tensorlist": "Tensor"}
_NAME = re.compile(r"__torch__(\.\w+)*")
_DEPTH = 60
_WORDS = {"int": int, "float": float, "bool": bool, "str": str, "NoneType": type(None)}


@dataclass(eq=False)
class Held:
    """What torch would build.

    kind: list, dict, tuple, object, pending, global, storage, tensor, hooks, device,
    enum or mark. items: its parts.
    closed: whether it has its parts already, so that no cycle and no chain deeper than `_DEPTH` can come about.
    """

    kind: str
    name: str = ""
    items: list[Any] = field(default_factory=list)
    depth: int = 0
    closed: bool = False

    def fill(self, items: list[Any]) -> None:
        _need(not self.closed, "a container that is changed after it was used")
        self.items, self.closed = items, True
        for item in items:
            if isinstance(item, Held):
                _need(item.kind not in ("pending", "mark"), "an object without a state")
                item.closed = True
                self.depth = max(self.depth, item.depth + 1)
        _need(self.depth < _DEPTH, "nesting too deep for a model")


def _need(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ModelError(f"its pickle holds {otherwise}, which torch.jit.save does not write")


def checked_pickle(data: bytes, sizes: Mapping[str, int], source: Source) -> int:
    """The bytes of all storages that torch would load for this pickle.

    sizes: bytes of each tensor member, by its key. source: the code, which states the types of its classes' fields.
    Raises ModelError on any opcode, name or value that torch.jit.save does not write, and on values of another type
    than the code states.
    """
    reader = _Reader(sizes, source)
    try:
        for opcode, argument, _ in pickletools.genops(data):
            reader.step(opcode.name, argument)
    except ModelError:
        raise
    except Exception as error:  # pickletools raises errors of many types on what is no pickle
        raise ModelError(f"its pickle is damaged ({type(error).__name__})") from error
    return reader.loaded


class _Reader:
    def __init__(self, sizes: Mapping[str, int], source: Source) -> None:
        self.loaded = 0
        self._sizes, self._fields, self._enums = sizes, source.fields, source.enums
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._steps: dict[str, Callable[[Any], None]] = {
            "GLOBAL": self._global,
            "NEWOBJ": self._new,
            "BUILD": self._build,
            "REDUCE": self._reduce,
            "BINPERSID": self._storage,
            "TUPLE": lambda _: self._tuple(self._marked()),
            "APPENDS": lambda _: self._fill("list"),
            "SETITEMS": lambda _: self._fill("dict"),
        }

    def step(self, opcode: str, argument: Any) -> None:
        if opcode in ("PROTO", "STOP"):
            _need(opcode != "STOP" or len(self._stack) == 1, "an incomplete value")
        elif opcode in ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"):
            _need(not isinstance(argument, int) or -(2**63) <= argument < 2**63, "a number of more than 64 bits")
            self._stack.append(argument)
        elif opcode in ("NONE", "NEWTRUE", "NEWFALSE"):
            self._stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[opcode])
        elif opcode in ("EMPTY_LIST", "EMPTY_DICT", "MARK"):
            self._stack.append(Held(opcode.removeprefix("EMPTY_").lower()))
        elif opcode == "EMPTY_TUPLE":
            self._tuple([])
        elif opcode in ("TUPLE1", "TUPLE2", "TUPLE3"):
            self._tuple(self._last(int(opcode[-1])))
        elif opcode in ("BINPUT", "LONG_BINPUT"):
            _need(argument <= len(self._memo) and not _is_mark(self._stack[-1]), "a memo that is not in order")
            self._memo[argument] = self._stack[-1]
        elif opcode in ("BINGET", "LONG_BINGET"):
            self._stack.append(self._memo[argument])
        else:
            _need(opcode in self._steps, f"the opcode {opcode}")
            self._steps[opcode](argument)

    def _last(self, count: int) -> list[Any]:
        _need(len(self._stack) >= count, "an incomplete value")
        taken = self._stack[len(self._stack) - count :]
        del self._stack[len(self._stack) - count :]
        _need(not any(map(_is_mark, taken)), "a mark as a value")
        return taken

    def _marked(self) -> list[Any]:
        taken = []
        while self._stack and not _is_mark(self._stack[-1]):
            taken.append(self._stack.pop())
        _need(bool(self._stack), "an incomplete value")
        self._stack.pop()
        return taken[::-1]

    def _tuple(self, items: list[Any]) -> None:
        made = Held("tuple")
        made.fill(items)
        self._stack.append(made)

    def _fill(self, kind: str) -> None:
        items = self._marked()
        held = self._top(kind)
        _need(kind == "list" or len(items) % 2 == 0, "a dict without a value")
        held.fill(items)

    def _top(self, kind: str) -> Held:
        held = self._stack[-1] if self._stack else None
        _need(isinstance(held, Held) and held.kind == kind, f"something else than a {kind}")
        assert isinstance(held, Held)
        return held

    def _global(self, argument: str) -> None:
        self._stack.append(Held("global", argument))

    def _new(self, _: Any) -> None:
        found, arguments = self._last(2)
        module, _, name = (found.name if _is(found, "global") else "").partition(" ")
        _need(_is(arguments, "tuple") and not arguments.items, "an object with arguments")
        _need(f"{module}.{name}" in self._fields, f"an object of {module[:60]}.{name[:60]}")
        self._stack.append(Held("pending", f"{module}.{name}"))

    def _build(self, _: Any) -> None:
        made, state = self._last(2)
        _need(_is(made, "pending") and _is(state, "dict"), "a state that is no dict")
        wanted = self._fields[made.name]
        names, values = state.items[::2], state.items[1::2]
        _need(
            len(names) == len(wanted) and {*map(str, names)} == {*wanted},
            f"other fields than the class {made.name[:80]}",
        )
        for name, value in zip(names, values, strict=True):
            _need(
                _fits(wanted[name], value),
                f"a value of another type than {ast.unparse(wanted[name])[:80]} in {name[:80]}",
            )
        made.kind = "object"
        made.fill(state.items)
        self._stack.append(made)

    def _reduce(self, _: Any) -> None:
        found, arguments = self._last(2)
        _need(_is(found, "global"), "a call of a value")
        module, _, name = found.name.partition(" ")
        if (enum := f"{module}.{name}") in self._enums:
            values = self._enums[enum]
            _need(type(arguments) is type(values[0]) and arguments in values, f"no value of the enum {enum[:80]}")
            self._stack.append(Held("enum", enum))
            return
        _need(_is(arguments, "tuple"), "a call of a value")
        items = arguments.items
        if found.name == "torch._utils _rebuild_tensor_v2":
            self._stack.append(_tensor(items))
        elif found.name == "collections OrderedDict":
            _need(not items, "a dict with arguments")
            self._stack.append(Held("hooks"))
        elif found.name == "torch device":
            _need(len(items) == 1 and re.fullmatch(r"(cpu|cuda)(:\d+)?", str(items[0])) is not None, "a device")
            self._stack.append(Held("device"))
        elif module == "torch.jit._pickle" and name in _LISTS:
            _need(len(items) == 1 and _is(items[0], "list"), "a list of something else")
            _need(all(_fits(ast.Name(_LISTS[name]), item) for item in items[0].items), f"other values in {name}")
            self._stack.append(items[0])
        elif found.name == "torch.jit._pickle restore_type_tag":
            self._stack.append(_tagged(items))
        else:
            _need(False, f"a call of {found.name[:120]}")

    def _storage(self, _: Any) -> None:
        (held,) = self._last(1)
        _need(_is(held, "tuple") and len(held.items) == 5, "a storage of another form")
        word, kind, key, place, count = held.items
        name = kind.name.removeprefix("torch ").removesuffix("Storage") if _is(kind, "global") else ""
        _need(word == "storage" and isinstance(key, str) and isinstance(place, str), "a storage of another form")
        _need(name in _STORAGES, f"a storage of {name[:40] or 'no known type'}")
        _need(type(count) is int and count >= 0 and key in self._sizes, "a storage that is not there")
        size = count * _STORAGES[name]
        _need(size <= self._sizes[key], "a storage larger than its bytes")
        self.loaded += size
        self._stack.append(Held("storage", items=[count]))


def _tensor(items: list[Any]) -> Held:
    """A tensor that lies within its storage."""
    _need(len(items) == 6 and _is(items[0], "storage"), "a tensor of another form")
    storage, offset, sizes, strides, _, hooks = items
    _need(_is(sizes, "tuple") and _is(strides, "tuple") and _is(hooks, "hooks"), "a tensor of another form")
    numbers = [offset, *sizes.items, *strides.items]
    _need(all(type(n) is int and 0 <= n < 2**62 for n in numbers), "a tensor with negative sizes")
    _need(len(sizes.items) == len(strides.items) and math.prod(sizes.items) < 2**62, "a tensor without all its strides")
    if 0 not in sizes.items:
        last = offset + sum((n - 1) * step for n, step in zip(sizes.items, strides.items, strict=True))
        _need(last < storage.items[0], "a tensor larger than its storage")
    return Held("tensor")


def _tagged(items: list[Any]) -> Held:
    _need(len(items) == 2 and isinstance(items[1], str) and _is(items[0], "list", "dict"), "a type without a value")
    try:
        stated = ast.parse(items[1][:1000], mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        stated = None
    _need(stated is not None and _fits(stated, items[0]), f"a value of another type than {items[1][:80]}")
    held: Held = items[0]
    return held


def _fits(stated: ast.expr, value: Any) -> bool:
    """Whether a value has the type that an annotation of the code states."""
    if isinstance(stated, ast.Name):
        if stated.id in _WORDS:
            return type(value) is _WORDS[stated.id]
        return _is(value, "tensor") if stated.id == "Tensor" else stated.id == "Device" and _is(value, "device")
    if isinstance(stated, ast.Attribute):
        name = ast.unparse(stated)
        return _NAME.fullmatch(name) is not None and _is(value, "object", "enum") and value.name == name
    if not isinstance(stated, ast.Subscript) or not isinstance(stated.value, ast.Name):
        return False
    inner = list(stated.slice.elts) if isinstance(stated.slice, ast.Tuple) else [stated.slice]
    if stated.value.id == "Optional" and len(inner) == 1:
        return value is None or _fits(inner[0], value)
    if stated.value.id == "List" and len(inner) == 1:
        return _is(value, "list") and all(_fits(inner[0], item) for item in value.items)
    if stated.value.id == "Tuple":
        return _is(value, "tuple") and len(inner) == len(value.items) and all(map(_fits, inner, value.items))
    if stated.value.id == "Dict" and len(inner) == 2:
        return _is(value, "dict") and all(_fits(inner[n % 2], item) for n, item in enumerate(value.items))
    return False


def _is(value: Any, *kinds: str) -> bool:
    return isinstance(value, Held) and value.kind in kinds


def _is_mark(value: Any) -> bool:
    return _is(value, "mark")
