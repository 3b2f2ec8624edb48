"""The graph of an exported program as a torch module: each step calls one of torch's own tensor operators."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from oracles.errors import ModelError
from oracles.model_files.operators import SCALES, allowed, argument_allowed

DTYPES = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}
"""`ScalarType` in torch's `torch/_export/serde/schema.py`, without complex and 8-bit floating-point types."""

_LAYOUTS = {1: torch.contiguous_format, 2: torch.channels_last, 3: torch.channels_last_3d, 4: torch.preserve_format}
_STRIDED = 7
_PLAIN = {"as_int": int, "as_bool": bool, "as_string": str}
_LISTS = {"as_ints": int, "as_bools": bool}

_ATEN = re.compile(r"torch\.ops\.aten\.([a-z_]\w*)\.([a-zA-Z]\w*)")
_ON_SIZES = {f"_operator.{name}": getattr(operator, name) for name in ["add", "sub", "mul", "floordiv", "mod", "neg"]}
_ON_SIZES |= {f"_operator.{name}": getattr(operator, name) for name in ["truediv", "eq", "ne", "lt", "le", "gt", "ge"]}
_LARGEST = 2**62
_VIEWS = {"torch.ops.aten.view.default", "torch.ops.aten._unsafe_view.default"}
"""Run as `reshape`, which gives the same values and also works on channels-last images, unlike `view`."""


@dataclass(frozen=True)
class Ref:
    """The result of an earlier step, by name."""

    name: str


class Device:
    """Stands for the device of the images."""


@dataclass(frozen=True, eq=False)
class Step:
    """One call. args, kwargs: values, `Ref`s, `Device`, and lists of these. names: of its results."""

    call: Callable[..., Any]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    names: Sequence[str]
    several: bool
    last_uses: list[str] = field(default_factory=list)


class ExportedGraph(nn.Module):
    """Runs the steps in order, on any number of images.

    image, outputs: names of the input and of the outputs, of which a single one is returned as it is and several as a
    tuple. tensors: the weights and constants, by name.
    """

    thread_safe = True

    def __init__(self, image: str, outputs: list[str], steps: list[Step], tensors: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        self._image, self._outputs, self._steps, self._names = image, outputs, steps, list(tensors)
        for number, tensor in enumerate(tensors.values()):
            layout = torch.channels_last if tensor.ndim == 4 else torch.contiguous_format
            self.register_buffer(f"tensor{number}", tensor.contiguous(memory_format=layout))
        _find_last_uses(steps, {*self._names, *outputs})

    def forward(self, images: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        values: dict[str, Any] = {name: getattr(self, f"tensor{n}") for n, name in enumerate(self._names)}
        values[self._image] = images
        for step in self._steps:
            args = [_filled(arg, values, images) for arg in step.args]
            result = step.call(*args, **{name: _filled(arg, values, images) for name, arg in step.kwargs.items()})
            if step.names:  # checks of sizes return nothing
                values.update(zip(step.names, result if step.several else (result,), strict=True))
            for name in step.last_uses:
                del values[name]
        returned: tuple[torch.Tensor, ...] = tuple(values[name] for name in self._outputs)
        return returned[0] if len(returned) == 1 else returned


def step_of(node: Mapping[str, Any]) -> Step:
    """One node of the graph. Raises ModelError on anything but one of torch's own tensor operators."""
    names, several = _names(node["outputs"])
    values = [(entry["name"], _argument(entry["arg"])) for entry in node["inputs"]]
    for name, value in values:
        if name in SCALES and not argument_allowed(name, value):
            raise ModelError(f"{node['target'][:80]} is given another {name[:20]} than a model file may")
    if node["target"] in _ON_SIZES:
        return Step(_on_numbers(_ON_SIZES[node["target"]]), [value for _, value in values], {}, names, several)
    if node["target"] in _VIEWS:
        values = [({"size": "shape"}.get(name, name), value) for name, value in values]
        return Step(torch.ops.aten.reshape.default, (), dict(values), names, several)
    return Step(_operator(node["target"]), (), dict(values), names, several)


def _on_numbers(call: Callable[..., Any]) -> Callable[..., Any]:
    """Arithmetic of Python on sizes alone, since repeated text and products of products would take all memory."""

    def checked(*values: object) -> Any:
        if not all(isinstance(value, int | float) and abs(value) < _LARGEST for value in values):
            raise ModelError(f"{call.__name__} is given something else than sizes")
        return call(*values)

    return checked


def _operator(target: str) -> Callable[..., Any]:
    match = _ATEN.fullmatch(target)
    call = None if match is None else getattr(getattr(torch.ops.aten, match[1], None), match[2], None)
    if match is not None and not isinstance(call, torch._ops.OpOverload):
        raise ModelError(f"torch {torch.__version__} has no operator {target[:80]}; save the model with this torch")
    if match is None or call is None or not allowed("aten", match[1], "" if match[2] == "default" else match[2]):
        raise ModelError(f"it calls {target[:80]}, which is not among the operators that a model file may call")
    checked: Callable[..., Any] = call
    return checked


def _names(outputs: Sequence[Mapping[str, Any]]) -> tuple[list[str], bool]:
    """The names of a step's results, and whether the call returns a sequence of them."""
    if len(outputs) == 1 and "as_tensors" in outputs[0]:
        return [value["name"] for value in outputs[0]["as_tensors"]], True
    return [_name(output) for output in outputs], len(outputs) != 1


def _name(output: Mapping[str, Any]) -> str:
    ((kind, value),) = output.items()
    if kind == "as_tensor":
        name: str = value["name"]
        return name
    if kind in ("as_sym_int", "as_sym_bool", "as_sym_float"):
        name = value["as_name"]
        return name
    if kind == "as_none":
        return ""
    raise ModelError(f"a step returns {kind}, but only tensors and sizes are supported")


def _argument(arg: Mapping[str, Any]) -> Any:
    ((kind, value),) = arg.items()
    if kind == "as_none":
        return None
    if kind in _PLAIN:
        return _PLAIN[kind](value)
    if kind in _LISTS:
        return [_LISTS[kind](entry) for entry in value]
    if kind == "as_float":
        return float(value)  # infinities and NaN are stored as text
    if kind == "as_floats":
        return [float(entry) for entry in value]
    if kind == "as_scalar_type":
        return DTYPES[value]
    if kind == "as_memory_format":
        return _LAYOUTS[value]
    if kind == "as_layout" and value == _STRIDED:
        return torch.strided
    if kind == "as_device":
        return Device()
    return _reference(kind, value)


def _reference(kind: str, value: Any) -> Any:
    if kind == "as_tensor":
        return Ref(value["name"])
    if kind == "as_tensors":
        return [Ref(entry["name"]) for entry in value]
    if kind in ("as_sym_int", "as_sym_bool", "as_sym_float"):
        return _size(value)
    if kind in ("as_sym_ints", "as_sym_bools", "as_sym_floats"):
        return [_size(entry) for entry in value]
    if kind == "as_optional_tensor":
        return _argument(value)
    if kind == "as_optional_tensors":
        return [_argument(entry) for entry in value]
    raise ModelError(f"a step takes {kind}, but only tensors, numbers and text are supported")


def _size(value: Mapping[str, Any]) -> Any:
    ((kind, inner),) = value.items()
    return Ref(inner) if kind == "as_name" else _argument({kind: inner})


def _filled(arg: Any, values: Mapping[str, Any], images: torch.Tensor) -> Any:
    if isinstance(arg, Ref):
        return values[arg.name]
    if isinstance(arg, list):
        return [_filled(entry, values, images) for entry in arg]
    return images.device if isinstance(arg, Device) else arg


def _find_last_uses(steps: list[Step], kept: set[str]) -> None:
    """Let each step drop the values that no later step needs, which keeps the memory of a pass small."""
    needed = set(kept)
    for step in reversed(steps):
        used = {ref.name for arg in (*step.args, *step.kwargs.values()) for ref in _refs(arg)}
        step.last_uses[:] = sorted((used | {*step.names}) - needed)
        needed |= used | {*step.names}


def _refs(arg: Any) -> list[Ref]:
    if isinstance(arg, list):
        return [ref for entry in arg for ref in _refs(entry)]
    return [arg] if isinstance(arg, Ref) else []
