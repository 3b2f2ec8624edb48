"""Checks every function, method and hook that torch compiled from a TorchScript archive, before any of them runs."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

import torch

from oracles.errors import ModelError
from oracles.model_files.operators import DECIDED, allowed, argument_allowed

_OVERLOAD = re.compile(r"\w+::\w+(?:\.(\w+))?\(")
_PLAIN = frozenset({"Tensor", "int", "float", "bool", "str", "number", "Device", "complex"})


def check_graphs(unit: Any) -> None:
    """Check every node of every function of a `torch._C.CompilationUnit`, in all blocks and sub-graphs.

    Raises ModelError that names the operator and the function.
    """
    for function in unit.get_functions():
        for node in _nodes(function.graph):
            try:
                _check_node(node)
            except ModelError as error:
                raise ModelError(f"{_called(function)} {error}") from error


def _called(function: Any) -> str:
    return str(getattr(function, "qualified_name", function.name))[:200]


def _nodes(graph: Any) -> Iterator[Any]:
    """Every node, however deep."""
    waiting = [graph]
    while waiting:
        for node in waiting.pop().nodes():
            yield node
            waiting += node.blocks()
            waiting += [node.g(name) for name in node.attributeNames() if node.kindOf(name) == "g"]


def _check_node(node: Any) -> None:
    kind = node.kind()
    namespace, _, name = kind.partition("::")
    overload = "" if namespace == "prim" else _overload(node)
    if not allowed(namespace, name, overload):
        shown = f"{kind}.{overload}" if overload else kind
        raise ModelError(f"calls {shown[:80]}, which is not among the operators that a model file may call")
    if kind == "prim::CallFunction" and _callee(node).kind() != "prim::Constant":
        raise ModelError("calls a function that is a value, so its code cannot be checked")
    if kind == "prim::CallMethod" and next(node.inputs()).type().kind() != "ClassType":
        raise ModelError("calls through an interface, so its code cannot be checked")
    if kind == "prim::unchecked_cast" and not _safe_cast(next(node.inputs()).type(), node.output().type()):
        raise ModelError(f"casts to {str(node.output().type())[:80]} without a check")
    if kind == "prim::Constant" and node.output().type().kind() == "DeviceObjType":
        _check_device(node)


def _overload(node: Any) -> str:
    match = _OVERLOAD.match(node.schema())
    if match is None:
        raise ModelError(f"calls {node.kind()[:80]}, which this torch does not know")
    return match[1] or ""


def _callee(node: Any) -> Any:
    return next(node.inputs()).node()


def _safe_cast(old: Any, new: Any) -> bool:
    """From an optional value to the value, or to what each operator checks again when it takes it."""
    if old.kind() == "OptionalType" and old.getElementType().annotation_str == new.annotation_str:
        return True
    while new.kind() in ("OptionalType", "ListType"):
        new = new.getElementType()
    return new.annotation_str in _PLAIN


def _check_device(node: Any) -> None:
    device = str(node.s("value")) if node.kindOf("value") == "s" else str(node.output().toIValue())
    if device.split(":")[0] not in ("cpu", "cuda"):
        raise ModelError(f"asks for the device {device[:40]}")


def check_arguments(graph: Any) -> None:
    """Check what operators take on trust, in the graph of `forward` with all calls inlined. Raises ModelError."""
    for node in _nodes(graph):
        if not node.kind().startswith("prim::"):
            for name, value in zip(_argument_names(node.kind(), _overload(node)), node.inputs(), strict=False):
                if name in DECIDED and not all(_allowed_sources(name, value)):
                    raise ModelError(f"forward gives {node.kind()} another {name} than a model file may")


@functools.cache
def _argument_names(kind: str, overload: str) -> list[str]:
    schemas = torch._C._jit_get_schemas_for_operator(kind)
    return next([argument.name for argument in it.arguments] for it in schemas if it.overload_name == overload)


def _allowed_sources(name: str, value: Any) -> Iterator[bool]:
    """For each place that the value may come from, whether it is allowed: constants, and the types of other tensors."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        node = value.node()
        if node.kind() == "prim::If":
            waiting += [list(block.outputs())[value.offset()] for block in node.blocks()]
        elif node.kind() == "prim::unchecked_cast":
            waiting += node.inputs()
        else:
            constant = node.kind() == "prim::Constant" and argument_allowed(name, value.toIValue())
            yield constant or (name == "dtype" and node.kind() == "prim::dtype")
