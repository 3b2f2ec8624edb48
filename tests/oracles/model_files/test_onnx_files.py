from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from oracles.answers import Scores
from oracles.errors import ModelError
from oracles.foreign import FixedBatch
from oracles.model_files.onnx_files import OnnxFile, read_onnx
from oracles.oracle import Oracle
from oracles.torch_model import TorchOracle
from oracles.torch_options import TorchOptions
from tests.contracts.oracle import OracleContract
from tests.oracles.fakes import random_images
from tests.oracles.model_files.files import SHAPE, onnx_model, refusal, victim
from tests.oracles.nets import reference


def read_file(path: Path) -> OnnxFile:
    return read_onnx(path, path.read_bytes())


class TestOnnxContract(OracleContract):
    @pytest.fixture(autouse=True)
    def _file(self, tmp_path: Path) -> None:
        self.path = tmp_path / "a.onnx"
        onnx.save(onnx_model(), self.path)

    def make(self) -> Oracle:
        return TorchOracle(read_file(self.path).module, SHAPE, TorchOptions(chunk=3))


def saved(path: Path, model: Any) -> Path:
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(("batch", "known"), [("N", None), (1, 1), (7, 7)])
def test_open_and_fixed_batches_answer_alike(tmp_path: Path, batch: int | str, known: int | None) -> None:
    read = read_file(saved(tmp_path / "a.onnx", onnx_model(batch)))
    assert (read.image_shape, read.n_classes, read.batch) == (SHAPE, 4, known)
    images = random_images(20, SHAPE)
    answer = TorchOracle(read.module, SHAPE, TorchOptions(chunk=9)).query(images)
    assert isinstance(answer, Scores)
    np.testing.assert_allclose(answer.values, reference(victim(), images), atol=1e-6)


def test_sizes_that_the_graph_leaves_open_are_not_known(tmp_path: Path) -> None:
    read = read_file(saved(tmp_path / "a.onnx", onnx_model(sizes=(3, "H", "W"))))
    assert (read.image_shape, read.n_classes, read.batch) == (None, 4, None)
    assert len(TorchOracle(read.module, SHAPE).query(random_images(3, SHAPE))) == 3
    with pytest.raises(ModelError, match=r"answers 4 scores per image, fewer than the 5 .*start at 1"):
        TorchOracle(read.module, SHAPE, n_classes=5)


def test_answers_depend_on_no_number_of_threads(tmp_path: Path) -> None:
    module, images = read_file(saved(tmp_path / "a.onnx", onnx_model())).module, random_images(90, SHAPE)
    threads, observed = torch.get_num_threads(), []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            answer = TorchOracle(module, SHAPE, TorchOptions(chunk=10)).query(images)
            assert isinstance(answer, Scores)
            observed.append(answer.values.tobytes())
    finally:
        torch.set_num_threads(threads)
    assert observed[0] == observed[1] == observed[2]


def external(tensor: Any, location: str) -> Any:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def with_subgraph(tensor: Any) -> Any:
    """The victim with a branch of an If that holds `tensor`."""
    model = onnx_model()
    out = helper.make_tensor_value_info("b", TensorProto.FLOAT, None)
    constant = helper.make_node("Constant", [], ["b"], value=tensor)
    branch = helper.make_graph([constant], "branch", [], [out])
    condition = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.array(True)))
    inner = helper.make_node("If", ["c"], ["unused"], then_branch=branch, else_branch=branch)
    outer = helper.make_graph([condition, inner], "outer", [], [helper.make_tensor_value_info("unused", 1, None)])
    model.graph.node.extend([condition, helper.make_node("If", ["c"], ["u"], then_branch=outer, else_branch=outer)])
    return model


def with_function(tensor: Any) -> Any:
    model = onnx_model()
    constant = helper.make_node("Constant", [], ["y"], value=tensor)
    function = helper.make_function("own", "f", [], ["y"], [constant], [helper.make_opsetid("", 17)])
    model.functions.append(function)
    return model


@pytest.mark.parametrize("location", ["weights.bin", "../../secret", "/etc/passwd"])
@pytest.mark.parametrize("where", ["initializer", "subgraph", "function"])
def test_weights_in_other_files_are_refused_wherever_they_are_named(tmp_path: Path, where: str, location: str) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(10_000))
    tensor = external(numpy_helper.from_array(np.ones((2, 2), np.float32), "hidden"), location)
    model = onnx_model()
    if where == "initializer":
        external(model.graph.initializer[0], location)
    else:
        model = with_subgraph(tensor) if where == "subgraph" else with_function(tensor)
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    assert f"lie outside, in {location!r}" in refusal(tmp_path / "a.onnx")


def test_operators_of_other_libraries_are_refused(tmp_path: Path) -> None:
    model = onnx_model()
    model.graph.node[0].domain = "com.evil"
    assert "com.evil:Flatten from a library" in refusal(saved(tmp_path / "a.onnx", model))


def test_functions_inside_the_file_are_its_own(tmp_path: Path) -> None:
    model = onnx_model()
    flatten = helper.make_node("Flatten", ["x"], ["y"])
    model.functions.append(helper.make_function("own", "F", ["x"], ["y"], [flatten], [helper.make_opsetid("", 17)]))
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.graph.node[0].domain, model.graph.node[0].op_type = "own", "F"
    assert read_file(saved(tmp_path / "a.onnx", model)).n_classes == 4


def test_a_graph_with_two_inputs_or_of_other_sizes_is_refused(tmp_path: Path) -> None:
    model = onnx_model()
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))
    assert "has 2 inputs (images, more)" in refusal(saved(tmp_path / "a.onnx", model))
    whole = onnx_model()
    whole.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    assert "cannot run" in refusal(saved(tmp_path / "b.onnx", whole))


def test_it_runs_in_float32_on_the_cpu(tmp_path: Path) -> None:
    module = read_file(saved(tmp_path / "a.onnx", onnx_model())).module
    with pytest.raises(ModelError, match="leave precision and device out"):
        TorchOracle(module, SHAPE, TorchOptions(precision="bfloat16"))


@pytest.mark.parametrize("library", ["onnx", "onnxruntime"])
def test_a_missing_library_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    real = importlib.import_module

    def missing(name: str) -> Any:
        if name == library:
            raise ModuleNotFoundError(name=name)
        return real(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ModelError, match=rf"need {library}: pip install 'b3d-simkit\[onnx\]'"):
        read_file(saved(tmp_path / "a.onnx", onnx_model()))


def test_nothing_is_printed_about_a_name_that_is_no_text(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = onnx_model().SerializeToString()
    (tmp_path / "a.onnx").write_bytes(data.replace(b"images", b"im\x92ges", 1))
    refusal(tmp_path / "a.onnx")
    assert "".join(capfd.readouterr()) == ""


def several() -> Any:
    """The flat victim with the class beside its scores."""
    model = onnx_model()
    model.graph.node.append(helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0))
    model.graph.output.insert(0, helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]))
    return model


@pytest.mark.parametrize("item", ["scores", "1"])
@pytest.mark.parametrize("batch", [None, 4])
def test_one_of_several_outputs_has_the_scores(tmp_path: Path, item: str, batch: int | None) -> None:
    read = read_file(saved(tmp_path / "a.onnx", several()))
    assert read.n_classes is None
    module, images = read.module if batch is None else FixedBatch(read.module, batch), random_images(9, SHAPE)
    oracle = TorchOracle(module, SHAPE, TorchOptions(output_item=item, output="logits"))
    answer = oracle.query(images)
    assert isinstance(answer, Scores)
    np.testing.assert_allclose(answer.values, reference(victim(), images), atol=1e-6)
    with pytest.raises(ModelError, match=r"2 tensors: label \(N(, 1)?\), scores \(N, 4\); .* set output_item"):
        TorchOracle(module, SHAPE)


def test_outputs_of_which_none_can_be_scores_are_refused(tmp_path: Path) -> None:
    model = several()
    del model.graph.output[1]
    assert "its output is tensor(int64); scores must be" in refusal(saved(tmp_path / "a.onnx", model))


def test_one_column_states_no_classes(tmp_path: Path) -> None:
    model = onnx_model()
    model.graph.node.append(helper.make_node("ReduceMax", ["scores"], ["one"], axes=[1], keepdims=1))
    del model.graph.output[0]
    model.graph.output.append(helper.make_tensor_value_info("one", TensorProto.FLOAT, ["N", 1]))
    read = read_file(saved(tmp_path / "a.onnx", model))
    assert read.n_classes is None
    assert TorchOracle(read.module, SHAPE, TorchOptions(output="logits")).n_classes == 2
    with pytest.raises(ModelError, match="one number per image"):
        TorchOracle(read.module, SHAPE, n_classes=4)


def test_a_graph_of_bytes_says_so(tmp_path: Path) -> None:
    model = onnx_model()
    cast = helper.make_node("Cast", ["bytes"], ["images"], to=TensorProto.FLOAT)
    model.graph.node.insert(0, cast)
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("bytes", TensorProto.UINT8, ["N", *SHAPE]))
    read = read_file(saved(tmp_path / "a.onnx", model))
    assert (read.takes_bytes, read_file(saved(tmp_path / "b.onnx", onnx_model())).takes_bytes) == (True, False)
    images = (random_images(5, SHAPE) * 255).round() / 255
    answer = TorchOracle(read.module, SHAPE, TorchOptions(input_dtype="uint8", output="logits")).query(images)
    assert isinstance(answer, Scores)
    np.testing.assert_allclose(answer.values, reference(victim(), images * 255), atol=1e-4)
