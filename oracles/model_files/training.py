"""Refuses graphs that were exported in training mode: their answers would depend on chance or on the batch.

What a graph does not show (a flag that is computed) shows in the answers, see `oracles.agreement`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from torch import nn

from oracles.errors import ModelError

_ADVICE = "call model.eval() before exporting it"

_OF_NORMS = "; a batch norm with track_running_stats=False always does: train it with running statistics"

_FLAGS: Mapping[str, int] = MappingProxyType(
    {f"{name}{ending}": 2 for name in ("dropout", "feature_dropout", "alpha_dropout") for ending in ("", "_")}
    | {f"feature_alpha_dropout{ending}": 2 for ending in ("", "_")}
    | {"native_dropout": 2, "batch_norm": 5, "native_batch_norm": 5, "cudnn_batch_norm": 5}
    | {"rrelu": 3, "rrelu_": 3}
)
"""The place of the flag `training` among the inputs of an operator of the namespace aten."""


def check_script(module: nn.Module) -> None:
    """Raise ModelError on a TorchScript module whose forward fixes an operator in training mode."""
    graph: Any = getattr(module, "inlined_graph", None)
    for node in () if graph is None else _nodes(graph):
        namespace, _, name = node.kind().partition("::")
        known = namespace == "aten" and name in _FLAGS and node.inputsSize() > _FLAGS[name]
        if known and node.inputsAt(_FLAGS[name]).toIValue() is True:
            raise ModelError(f"aten::{name} runs in training mode; {_ADVICE}{_OF_NORMS if 'norm' in name else ''}")


def check_onnx(model: Any) -> None:
    """Raise ModelError on an ONNX model, a ModelProto, of which an operator runs in training mode."""
    from onnx import numpy_helper

    for graph in _graphs(model.graph):
        fixed = {tensor.name: tensor for tensor in graph.initializer}
        fixed |= {n.output[0]: n.attribute[0].t for n in graph.node if n.op_type == "Constant" and n.attribute}
        for node in graph.node:
            training = any(a.name == "training_mode" and a.i for a in node.attribute)
            if node.op_type == "Dropout" and len(node.input) > 2 and node.input[2] in fixed:
                training = bool(numpy_helper.to_array(fixed[node.input[2]]).any())
            if training:
                raise ModelError(f"{node.op_type} runs in training mode; {_ADVICE}")


def _nodes(block: Any) -> Iterator[Any]:
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from _nodes(inner)


def _graphs(graph: Any) -> Iterator[Any]:
    """The graph and those inside its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    yield from _graphs(inner)
