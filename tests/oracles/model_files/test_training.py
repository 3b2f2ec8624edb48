"""Graphs in training mode are refused where they show it."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import nn

from oracles.errors import ModelError
from oracles.model_files import Description, load_model

TOLD = Description(None, (1, 8, 8), 10)


def traced(layers: nn.Module, path: Path, *, training: bool) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = nn.Sequential(layers, nn.Flatten(), nn.Linear(64, 10)).train(training)
        script = torch.jit.trace(net, torch.rand(2, 1, 8, 8), check_trace=False)  # type: ignore[no-untyped-call]
        torch.jit.save(script, str(path))
    return path


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (nn.Dropout(0.5), "aten::dropout"),
        (nn.Dropout2d(0.5), "aten::feature_dropout"),
        (nn.AlphaDropout(0.5), "aten::alpha_dropout"),
        (nn.BatchNorm2d(1), "aten::batch_norm"),
        (nn.RReLU(), "aten::rrelu"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_torchscript_traced_in_training_mode_is_refused(layer: nn.Module, named: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"{named} runs in training mode; call model.eval"):
        load_model(traced(layer, tmp_path / "train.pt", training=True), {}, TOLD)
    load_model(traced(layer, tmp_path / "eval.pt", training=False), {}, TOLD)


def test_a_batch_norm_without_running_statistics_is_told_what_helps(tmp_path: Path) -> None:
    layer = nn.BatchNorm2d(1, track_running_stats=False)
    with pytest.raises(ModelError, match="track_running_stats=False always does: train it with running statistics"):
        load_model(traced(layer, tmp_path / "norm.pt", training=False), {}, TOLD)


def test_scripted_in_training_mode_is_put_into_eval_mode(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = torch.jit.script(nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 10)).train())
        torch.jit.save(net, stream)
    (tmp_path / "script.pt").write_bytes(stream.getvalue())
    module = load_model(tmp_path / "script.pt", {}, TOLD).module.eval()
    images = torch.rand(4, 1, 8, 8)
    torch.testing.assert_close(module(images), module(images))


def graph(path: Path, node: Any, *constants: Any) -> Path:
    value = helper.make_tensor_value_info
    tail = [helper.make_node("Flatten", ["y"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["z"])]
    weights = [numpy_helper.from_array(np.ones((64, 10), np.float32), "w"), *constants]
    made = helper.make_graph([node, *tail], "g", [value("x", 1, ["N", 1, 8, 8])], [value("z", 1, ["N", 10])], weights)
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 15)], ir_version=8), path)
    return path


@pytest.mark.parametrize("training", [True, False])
def test_onnx_in_training_mode_is_refused(training: bool, tmp_path: Path) -> None:
    ones = [numpy_helper.from_array(np.ones(1, np.float32), name) for name in "sbmv"]
    flags = numpy_helper.from_array(np.array(0.5, np.float32), "r"), numpy_helper.from_array(np.array(training), "t")
    outputs = ["y", "running_mean", "running_var"] if training else ["y"]
    norm = helper.make_node("BatchNormalization", ["x", *"sbmv"], outputs, training_mode=int(training))
    files = (
        graph(tmp_path / "dropout.onnx", helper.make_node("Dropout", ["x", "r", "t"], ["y"]), *flags),
        graph(tmp_path / "norm.onnx", norm, *ones),
    )
    for file in files:
        if training:
            with pytest.raises(ModelError, match=r"is refused: .* runs in training mode; call model\.eval"):
                load_model(file, {}, TOLD)
        else:
            assert load_model(file, {}, TOLD).n_classes == 10
