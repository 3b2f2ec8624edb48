"""From what the user names to an oracle."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import nn

from oracles.errors import InvalidSpec, ModelError
from oracles.torch_model import TorchOracle
from simkit.data import load
from simkit.errors import DataError
from studies.scan.config import ScanConfig
from studies.scan.models import model_path, module_sha256, open_model, read_graph, stated_shape
from tests.fakes import PlantedOracle

CONFIG = ScanConfig.of({"data": "digits"})


def net(weight: float = 0.0, last: nn.Module | None = None) -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), *([last] if last else []))
    nn.init.constant_(model.get_parameter("1.weight"), weight)
    nn.init.zeros_(model.get_parameter("1.bias"))
    return model


def test_a_hash_is_of_the_weights_and_the_layers() -> None:
    assert module_sha256(net()) == module_sha256(net())
    assert len({module_sha256(m) for m in (net(), net(1.0), net(last=nn.ReLU()), net(last=nn.Tanh()))}) == 4
    assert module_sha256(net().half()) != module_sha256(net())


def test_a_scalar_and_an_empty_state_have_a_hash() -> None:
    assert module_sha256(nn.BatchNorm2d(3)) != module_sha256(nn.ReLU())


class Shifted(nn.Module):
    """Keeps `shift`, whatever it is, as an attribute."""

    def __init__(self, shift: object) -> None:
        super().__init__()
        self.net, self.shift = net(), shift

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        shifted: torch.Tensor = self.net(images)
        return shifted


class Scripted(nn.Module):
    """As `Shifted`, for TorchScript."""

    def __init__(self, shift: float) -> None:
        super().__init__()
        self.net, self.shift = net(), shift

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        shifted: torch.Tensor = self.net(images - self.shift)
        return shifted


def test_a_hash_is_of_what_is_no_weight() -> None:
    plain: list[object] = [
        0,
        1,
        0.5,
        True,
        None,
        "0",
        (0, 1),
        (0, (1,)),
        [0.5, 0.25],
        {"mean": 0.5},
        torch.ones(3),
        torch.zeros(3),
    ]
    plain += [torch.ones(3, 1), np.zeros(3), np.ones(3)]
    assert len({module_sha256(Shifted(shift)) for shift in plain}) == len(plain)
    assert module_sha256(Shifted((0, 0.5))) == module_sha256(Shifted((0, 0.5)))
    convs = [
        nn.Sequential(nn.Conv2d(1, 1, 3, stride=stride, padding=padding)) for stride in (1, 2) for padding in (0, 1)
    ]
    for conv in convs:
        conv.load_state_dict(convs[0].state_dict())
    assert len(set(map(module_sha256, convs))) == 4
    with pytest.warns(DeprecationWarning, match="torch.jit.script"):
        scripts = [torch.jit.script(Scripted(shift)) for shift in (0.0, 0.5, 0.5)]
    assert [module_sha256(script) == module_sha256(scripts[1]) for script in scripts] == [False, True, True]


def test_a_hash_is_of_the_name_and_of_no_address() -> None:
    assert len({module_sha256(net(), name) for name in (None, "None", "a", "b")}) == 4
    assert module_sha256(net(), "a") == module_sha256(net(), "a")
    assert module_sha256(Shifted(object())) == module_sha256(Shifted(object()))


def test_an_entry_of_a_zoo_is_its_file(demo_victims: Path) -> None:
    zoo = demo_victims / "zoo"
    assert model_path(f"{zoo}:0") == zoo / "0000.safetensors"
    assert model_path(zoo / "0000.safetensors") == zoo / "0000.safetensors"
    with pytest.raises(DataError, match="no victim 5"):
        model_path(f"{zoo}:5")


def test_a_file_with_such_a_name_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "model:7").write_bytes(b"")
    assert model_path(tmp_path / "model:7") == tmp_path / "model:7"


def test_the_file_says_what_it_answers(demo_victims: Path) -> None:
    images = load("digits", "test", 20)
    opened = open_model(f"{demo_victims / 'zoo'}:0", images, CONFIG)
    assert opened.oracle.n_classes == 10
    assert len(opened.sha256) == 64
    assert float(opened.oracle.query(images.pixels).values.sum(axis=1).mean()) == pytest.approx(1.0)  # type: ignore[union-attr]


def test_a_model_for_other_images_is_told_with_both_shapes(demo_victims: Path) -> None:
    images = load("digits", "test", 20)
    wide = type(images)(torch.zeros(20, 3, 8, 8), images.labels, images.classes, "wide")
    with pytest.raises(ModelError, match=r"\(1, 8, 8\).*\(3, 8, 8\)"):
        open_model(demo_victims / "zoo" / "0000.safetensors", wide, CONFIG)


def answering(images: Any) -> Any:
    return np.full((len(images), 10), 0.1, np.float32)


class Answering:
    """A function with a state: an object that can be called."""

    def __call__(self, images: Any) -> Any:
        return answering(images)


@pytest.mark.parametrize("function", [answering, Answering()])
def test_a_function_is_a_model_that_is_known_by_its_name(function: Any) -> None:
    images = load("digits", "test", 20)
    opened = open_model(function, images, CONFIG)
    assert len(opened.oracle.query(images.pixels)) == 20
    assert opened.sha256 == ""
    named = [open_model(function, images, CONFIG.model_copy(update={"name": name})) for name in ("a", "a", "b")]
    assert len({model.sha256 for model in named}) == 2
    assert [model.name for model in named] == ["a", "a", "b"]


def test_code_of_the_users_is_known_by_its_address_and_its_file() -> None:
    images = load("digits", "test", 20)
    opened = open_model("python:tests.studies.scan.test_models:answering", images, CONFIG)
    assert len(opened.sha256) == 64
    assert opened.name.endswith(":answering")


MODULE = net()


def test_a_module_of_the_users_is_known_by_its_weights_and_its_code() -> None:
    images, address = load("digits", "test", 20), "python:tests.studies.scan.test_models:MODULE"
    first = open_model(address, images, CONFIG).sha256
    assert first != module_sha256(MODULE)
    with torch.no_grad():
        next(MODULE.parameters()).add_(1.0)
    assert open_model(address, images, CONFIG).sha256 != first


def test_a_batch_limit_is_for_functions() -> None:
    images, limited = load("digits", "test", 20), CONFIG.model_copy(update={"batch_limit": 7})
    seen: list[int] = []

    def function(batch: Any) -> Any:
        seen.append(len(batch))
        return answering(batch)

    open_model(function, images, limited).oracle.query(images.pixels)
    assert seen == [7, 7, 6]
    with pytest.raises(InvalidSpec, match="set chunk"):
        open_model(net(), images, limited)


def test_classes_that_no_labels_tell_must_be_told() -> None:
    images = load("digits", "test", 20)
    bare = type(images).unlabelled(images.pixels, "bare")
    with pytest.raises(InvalidSpec, match="give n_classes"):
        open_model(answering, bare, CONFIG)
    told = CONFIG.model_copy(update={"n_classes": 10})
    assert open_model(answering, bare, told).oracle.n_classes == 10
    with pytest.raises(ModelError, match="n_classes is 5, but digits/test has 10; leave it out"):
        open_model(answering, images, CONFIG.model_copy(update={"n_classes": 5}))


class Sized:
    """Can be queried, but tells neither classes nor shape."""

    def query(self) -> None: ...


def test_a_number_of_classes_that_the_model_has_not_is_told(demo_victims: Path) -> None:
    images = load("digits", "test", 20)
    bare = type(images).unlabelled(images.pixels, "bare")
    with pytest.raises(ModelError, match="has 10 classes, but n_classes is 7"):
        open_model(f"{demo_victims / 'zoo'}:0", bare, CONFIG.model_copy(update={"n_classes": 7}))


@pytest.mark.parametrize("model", [3, None, dict, nn.ReLU, Sized()])
def test_what_is_no_model_is_named(model: Any) -> None:
    with pytest.raises(ModelError, match="is no model"):
        open_model(model, load("digits", "test", 20), CONFIG)


@pytest.mark.usefixtures("read_here")
def test_an_onnx_file_fills_few_places_and_names_its_library(tmp_path: Path) -> None:
    images = load("digits", "test", 20)
    weights = numpy_helper.from_array(np.zeros((64, 10), np.float32), "w")
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])]
    x, y = (helper.make_tensor_value_info(n, 1, s) for n, s in (("x", [8, 1, 8, 8]), ("y", [8, 10])))
    graph = helper.make_graph(nodes, "g", [x], [y], [weights])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    opened = open_model(tmp_path / "m.onnx", images, CONFIG)
    assert opened.libraries == {"onnxruntime": version("onnxruntime")}
    assert isinstance(opened.oracle, TorchOracle)
    assert opened.oracle.options.chunk == 48
    wide = type(images)(torch.zeros(20, 3, 8, 8), images.labels, images.classes, "wide")
    with pytest.raises(
        ModelError, match=r"takes images \(1, 8, 8\), but those of wide are \(3, 8, 8\).*was trained for$"
    ):
        open_model(tmp_path / "m.onnx", wide, CONFIG)
    large = type(images)(torch.zeros(20, 1, 32, 32), images.labels, images.classes, "large")
    with pytest.raises(ModelError, match=r"\(1, 8, 8\), but those of large are \(1, 32, 32\).*set image_size=8$"):
        open_model(tmp_path / "m.onnx", large, CONFIG)


@pytest.mark.parametrize(("classes", "says"), [(12, "12 classes, more than the 10 of digits"), (9, "9 classes, fewer")])
def test_more_or_fewer_outputs_than_classes_are_said(classes: int, says: str) -> None:
    oracle = PlantedOracle(image_shape=(1, 8, 8), n_classes=classes)
    with pytest.raises(ModelError, match=says):
        open_model(oracle, load("digits", "test", 20), ScanConfig(data="digits", name="planted"))


def test_a_graph_of_another_layout_is_told_with_the_option(tmp_path: Path) -> None:
    images = load("digits", "test", 4)
    weights = [numpy_helper.from_array(w.detach().numpy(), n) for n, w in net().named_parameters()]
    nodes = [
        helper.make_node("Flatten", ["images"], ["flat"]),
        helper.make_node("Gemm", ["flat", "1.weight", "1.bias"], ["scores"], transB=1),
    ]
    taken = helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, ["N", 8, 8, 1])
    given = helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, ["N", 10])
    graph = helper.make_graph(nodes, "flat", [taken], [given], weights)
    file = tmp_path / "a.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file)
    trusted = ScanConfig.of({"data": "digits", "trust_model": True})
    with pytest.raises(ModelError, match=r"takes images \(8, 8, 1\).*set input_layout=nhwc"):
        open_model(file, images, trusted)
    nhwc = trusted.model_copy(update={"input_layout": "nhwc"})
    assert open_model(file, images, nhwc).oracle.image_shape == (1, 8, 8)
    assert stated_shape(read_graph(file, trusted=True, nhwc=True)) == (1, 8, 8)
