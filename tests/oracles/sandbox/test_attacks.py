"""Programs that mean harm: each ends with one line here or by Ctrl-C, and its process ends too."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from oracles.errors import ModelError
from oracles.model_files import load_model
from oracles.sandbox import model as sandboxed
from oracles.sandbox.model import SandboxedModel
from oracles.torch_model import TorchOracle
from tests.oracles.fakes import random_images
from tests.oracles.model_files.files import SHAPE, TOLD
from tests.oracles.model_files.hostile import script

pytestmark = [pytest.mark.process, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

CUT = {"start": [0], "end": [4], "axis": [1]}


class DividesByZero(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, :4] * (x.shape[0] % (x.shape[0] - x.shape[0]))


class DividesTensorsByZero(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        zeros = (x * 0).to(torch.int64)
        return (torch.ones_like(zeros) // zeros).float().flatten(1)[:, :4]


class Grows(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        numbers = [1]
        while len(numbers) > 0:
            numbers.extend(numbers)
        return x.flatten(1)[:, :4]


class NeverEnds(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        while x.dim() > 0:
            x = x + 1
        return x


class GivesNoRows(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros([0, 4])


class GivesMuch(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros([x.shape[0], 100000000])


def onnx_file(nodes: list[Any], constants: list[Any]) -> bytes:
    """A graph whose `nodes` make `z` of `x`; its first four numbers per image are the scores."""
    cuts = [helper.make_tensor(name, TensorProto.INT64, [1], value) for name, value in CUT.items()]
    last = [helper.make_node("Flatten", ["z"], ["rows"]), helper.make_node("Slice", ["rows", *CUT], ["y"])]
    images = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *SHAPE])
    scores = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])
    graph = helper.make_graph([*nodes, *last], "g", [images], [scores], [*constants, *cuts])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def number(name: str, *values: int) -> Any:
    return helper.make_tensor(name, TensorProto.INT64, [len(values)], values)


def onnx_that_divides_by_zero() -> bytes:
    nodes = [helper.make_node("Div", ["one", "none"], ["q"]), helper.make_node("Cast", ["q"], ["f"], to=1)]
    return onnx_file([*nodes, helper.make_node("Add", ["x", "f"], ["z"])], [number("one", 1), number("none", 0)])


def onnx_that_grows() -> bytes:
    nodes = [helper.make_node("Cast", ["one"], ["f"], to=1), helper.make_node("Expand", ["f", "much"], ["e"])]
    nodes += [helper.make_node("ReduceSum", ["e"], ["s"], keepdims=0), helper.make_node("Add", ["x", "s"], ["z"])]
    return onnx_file(nodes, [number("one", 1), number("much", 2**20, 2**20)])


def onnx_that_never_ends() -> bytes:
    value, go = (
        helper.make_tensor_value_info(n, t, []) for n, t in (("v", TensorProto.FLOAT), ("c", TensorProto.BOOL))
    )
    value.type.tensor_type.ClearField("shape")
    step = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    outs = [helper.make_tensor_value_info("co", TensorProto.BOOL, []), helper.make_tensor_value_info("vo", 1, None)]
    copies = [helper.make_node("Identity", ["c"], ["co"]), helper.make_node("Identity", ["v"], ["vo"])]
    body = helper.make_graph(copies, "body", [step, go, value], outs)
    times = helper.make_tensor("times", TensorProto.INT64, [], [2**62])
    true = helper.make_tensor("true", TensorProto.BOOL, [], [True])
    return onnx_file([helper.make_node("Loop", ["times", "true", "x"], ["z"], body=body)], [times, true])


def asked(path: Path) -> None:
    TorchOracle(load_model(path, {}, TOLD).module, SHAPE, n_classes=4).query(random_images(2, SHAPE))


ENDED: list[tuple[str, Callable[[], bytes], str]] = [
    ("a.pt", lambda: script(DividesByZero()), r"ended its process \(SIGFPE\); nothing was charged"),
    ("a.pt", lambda: script(DividesTensorsByZero()), "the model failed on images .*ZeroDivisionError"),
    ("a.pt", lambda: script(Grows()), "ended its process|the model failed on images"),
    ("a.pt", lambda: script(GivesNoRows()), r"answers \(0, 4\)"),
    ("a.pt", lambda: script(GivesMuch()), "100000000 scores per image|does not answer as it should"),
    ("a.onnx", onnx_that_divides_by_zero, "cannot run|ended its process"),
    ("a.onnx", onnx_that_grows, "the model failed on images|ended its process"),
]


@pytest.mark.parametrize(("name", "made", "says"), ENDED)
def test_a_program_that_means_harm_ends_with_one_line(
    name: str, made: Callable[[], bytes], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandboxed, "memory_cap", lambda: 2**31)
    (tmp_path / name).write_bytes(made())
    with pytest.raises(ModelError, match=says) as caught:
        asked(tmp_path / name)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(("name", "made"), [("a.pt", lambda: script(NeverEnds())), ("a.onnx", onnx_that_never_ends)])
def test_a_program_without_end_is_stopped_by_ctrl_c(name: str, made: Callable[[], bytes], tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(made())
    model = load_model(tmp_path / name, {}, TOLD).module
    assert isinstance(model, SandboxedModel)
    before = signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    disposition = signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(KeyboardInterrupt):
            TorchOracle(model, SHAPE, n_classes=4).query(random_images(2, SHAPE))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        signal.signal(signal.SIGINT, disposition)
    assert not Path(f"/proc/{model.pid}").exists()
    with pytest.raises(ModelError, match="was stopped; open the model again"):
        TorchOracle(model, SHAPE, n_classes=4).query(random_images(2, SHAPE))
