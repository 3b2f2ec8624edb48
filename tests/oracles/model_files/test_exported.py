from __future__ import annotations

import contextlib
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from oracles.answers import Scores
from oracles.errors import ModelError
from oracles.model_files.exported import ExportedFile, _outputs, read_exported
from oracles.model_files.exported_graph import step_of
from oracles.oracle import Oracle
from oracles.torch_model import TorchOracle
from oracles.torch_options import TorchOptions
from tests.contracts.oracle import OracleContract
from tests.oracles.fakes import random_images
from tests.oracles.model_files.files import SHAPE, Canary, refusal, save_exported
from tests.oracles.nets import CLASSES, conv_net, reference

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def read_file(path: Path) -> ExportedFile:
    return read_exported(path, path.read_bytes())


class Varied(nn.Module):
    """Sizes that depend on the batch, a view, a constant, a buffer, a split, a step of two tensors, and text."""

    def __init__(self) -> None:
        super().__init__()
        self.mean: torch.Tensor
        self.net = conv_net()
        self.register_buffer("mean", torch.full((1, 3, 1, 1), 0.3), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = self.net((x - self.mean) / 0.5)
        left, right = rows.view(x.size(0), 2, -1).split(1, dim=1)
        rows = torch.cat([left, nn.functional.gelu(right, approximate="tanh")], dim=1).flatten(1)
        top, _ = rows.max(dim=1, keepdim=True)
        shifted: torch.Tensor = rows - top + torch.tensor([0.1, 0.2, 0.3, 0.4]) + torch.zeros(x.shape[0], 4)
        return shifted


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The varied model, its batch left open; saved once."""
    path = tmp_path_factory.mktemp("exported") / "a.pt2"
    save_exported(path, Varied().eval())
    return path


class TestExportedContract(OracleContract):
    @pytest.fixture(autouse=True)
    def _file(self, archive: Path) -> None:
        self.path = archive

    def make(self) -> Oracle:
        return TorchOracle(read_file(self.path).module, SHAPE, TorchOptions(chunk=3), CLASSES)


def test_the_graph_gives_what_torch_gives(archive: Path) -> None:
    read, images = read_file(archive), random_images(5, SHAPE)
    assert (read.image_shape, read.n_classes, read.batch) == (SHAPE, CLASSES, None)
    assert_close(read.module(images), torch.export.load(archive).module()(images))
    assert_close(read.module(images[:1]), Varied().eval()(images[:1]))


def test_a_fixed_batch_is_filled_up(tmp_path: Path) -> None:
    save_exported(tmp_path / "a.pt2", conv_net(), batch=4)
    read, images = read_file(tmp_path / "a.pt2"), random_images(10, SHAPE)
    assert read.batch == 4
    answer = TorchOracle(read.module, SHAPE, TorchOptions(chunk=6)).query(images)
    assert isinstance(answer, Scores)
    np.testing.assert_allclose(answer.values, reference(conv_net(), images), atol=1e-5)


def test_bfloat16_is_taken(archive: Path) -> None:
    oracle = TorchOracle(read_file(archive).module, SHAPE, TorchOptions(precision="bfloat16"), CLASSES)
    assert len(oracle.query(random_images(3, SHAPE))) == 3


def changed(archive: Path, path: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """A copy of the archive, each member as `change` gives it; None leaves it out."""
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            data = change(name.partition("/")[2], old.read(name))
            if data is not None:
                new.writestr(name, data)
    return path


def graph_changed(archive: Path, path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    def as_json(name: str, data: bytes) -> bytes:
        if name != "models/model.json":
            return data
        program = json.loads(data)
        change(program)
        return json.dumps(program).encode()

    return changed(archive, path, as_json)


def pickled(what: object) -> bytes:
    stream = io.BytesIO()
    torch.save(what, stream)
    return stream.getvalue()


@pytest.mark.parametrize("how", ["torch", "plain"])
def test_no_pickle_in_an_archive_is_opened(archive: Path, tmp_path: Path, how: str) -> None:
    """Every member that torch.export.load may unpickle is a canary, and every weight says that it is pickled."""
    ran = tmp_path / "ran"
    song = pickled(Canary(ran)) if how == "torch" else pickle.dumps(Canary(ran))

    def change(name: str, data: bytes) -> bytes:
        if name.endswith("config.json"):
            return data.replace(b'"use_pickle": false', b'"use_pickle": true')
        return song if name.startswith(("data/weights/", "data/constants/", "data/sample_inputs/")) else data

    path = changed(archive, tmp_path / "a.pt2", change)
    assert "stored as a pickle" in refusal(path)
    assert not ran.exists()
    if how == "torch":
        with contextlib.suppress(Exception):
            torch.export.load(path)
        assert ran.exists(), "the canary must sing where torch opens the archive"


def test_what_is_not_needed_is_not_opened(archive: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    song = pickle.dumps(Canary(ran))
    path = changed(archive, tmp_path / "a.pt2", lambda name, data: song if "sample_inputs" in name else data)
    with zipfile.ZipFile(path, "a") as opened:
        for extra in ("data/constants/custom_obj_0", "data/constants/opaque_obj_0", "data/weights/model.pt"):
            opened.writestr(f"a/{extra}", song)
        opened.writestr("a/data/aotinductor/model/evil.so", b"\x7fELF")
    assert read_file(path).n_classes == CLASSES
    assert not ran.exists()


def test_sizes_are_never_evaluated(archive: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    song = f"__import__('pathlib').Path({str(ran)!r}).touch()"

    def sing(value: Any) -> None:
        if isinstance(value, dict):
            if "expr_str" in value:
                value["expr_str"] = song
            for inner in value.values():
                sing(inner)
        elif isinstance(value, list):
            for inner in value:
                sing(inner)

    path = graph_changed(archive, tmp_path / "a.pt2", sing)
    read_file(path).module(random_images(2, SHAPE))
    assert not ran.exists()
    with pytest.raises(Exception):  # noqa: B017, PT011 (whatever torch makes of it)
        torch.export.load(path)
    assert ran.exists(), "the canary must sing where torch opens the archive"


@pytest.mark.parametrize(
    "target",
    [
        "torch.ops.aten.from_file.default",
        "torch.ops.aten._reshape_alias.default",
        "torch.ops.aten._sparse_coo_tensor_unsafe.default",
        "torch.ops.aten.segment_reduce.default",
        "torch.ops.aten._convert_indices_from_csr_to_coo.default",
        "torch.ops.aten.sparse_csr_tensor.crow_col_value_size",
        "torch.ops.aten._reshape_alias_copy.default",
        "torch.ops.aten.set_.source_Tensor",
        "torch.ops.aten.view.dtype",
        "torch.ops.inductor._alloc_from_pool.default",
        "torch.ops.quantized.linear.default",
        "torch.ops.aten.__class__.mro",
        "torch.ops.higher_order.cond",
        "torch.ops.mine.evil.default",
        "os.system",
        "_operator.attrgetter",
        "builtins.exec",
    ],
)
def test_only_tensor_operators_are_called(archive: Path, tmp_path: Path, target: str) -> None:
    def change(program: dict[str, Any]) -> None:
        program["graph_module"]["graph"]["nodes"][0]["target"] = target

    message = refusal(graph_changed(archive, tmp_path / "a.pt2", change))
    assert target in message


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"as_string": "a" * 99}, {"as_int": 2**61}),
        ({"as_int": 2**62}, {"as_int": 2}),
        ({"as_ints": [1]}, {"as_int": 9}),
    ],
)
def test_arithmetic_is_done_on_sizes_alone(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Repeated text, and products of products, would take all memory."""
    inputs = [{"name": "", "arg": first}, {"name": "", "arg": second}]
    outputs = [{"as_sym_int": {"as_name": "product"}}]
    step = step_of({"target": "_operator.mul", "inputs": inputs, "outputs": outputs})
    with pytest.raises(ModelError, match="mul is given something else than sizes"):
        step.call(*step.args)


def test_a_scale_beside_a_size_must_be_one_to_compute_indices_with() -> None:
    target = "torch.ops.aten.upsample_nearest2d.default"
    for scale in ({"as_float": 1e-30}, {"as_float": "NaN"}, {"as_sym_float": {"as_name": "scale"}}):
        node = {"target": target, "inputs": [{"name": "scales_h", "arg": scale}], "outputs": []}
        with pytest.raises(ModelError, match="another scales_h than a model file may"):
            step_of(node)


def test_an_operator_that_this_torch_lacks_is_named(archive: Path, tmp_path: Path) -> None:
    def change(program: dict[str, Any]) -> None:
        program["graph_module"]["graph"]["nodes"][0]["target"] = "torch.ops.aten.newer.default"

    assert "has no operator torch.ops.aten.newer" in refusal(graph_changed(archive, tmp_path / "a.pt2", change))


def test_another_format_is_named(archive: Path, tmp_path: Path) -> None:
    def change(program: dict[str, Any]) -> None:
        program["schema_version"]["major"] = 9

    assert "format 9 of torch.export is not supported" in refusal(graph_changed(archive, tmp_path / "a.pt2", change))


def test_an_archive_of_an_older_torch_says_so(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pt2", "w") as old:
        old.writestr("version", "7.3")
        old.writestr("serialized_exported_program.json", "{}")
    assert "torch before 2.8" in refusal(tmp_path / "a.pt2")


def test_a_weight_with_fewer_bytes_than_its_sizes_need_is_refused(archive: Path, tmp_path: Path) -> None:
    for kept, says in ((8, "has fewer values"), (0, "has no values")):

        def change(name: str, data: bytes, kept: int = kept) -> bytes:
            return data[:kept] if name.startswith("data/weights/weight") else data

        assert says in refusal(changed(archive, tmp_path / "a.pt2", change))


def test_a_model_exported_in_training_mode_is_refused(tmp_path: Path) -> None:
    save_exported(tmp_path / "a.pt2", nn.Sequential(conv_net(), nn.Dropout()).train())
    assert "eval" in refusal(tmp_path / "a.pt2")
    save_exported(tmp_path / "b.pt2", nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(192, 4)).train())
    assert "model.eval() before torch.export" in refusal(tmp_path / "b.pt2")


def test_a_check_of_sizes_returns_nothing(tmp_path: Path) -> None:
    class Checked(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            torch.ops.aten._assert_tensor_metadata(x, dtype=torch.float32)
            return x.mean(dim=(2, 3))

    save_exported(tmp_path / "a.pt2", Checked())
    with zipfile.ZipFile(tmp_path / "a.pt2") as archive:
        assert "_assert_tensor_metadata" in archive.read("a/models/model.json").decode()
    images = random_images(3, SHAPE)
    assert_close(read_file(tmp_path / "a.pt2").module(images), images.mean(dim=(2, 3)))


def test_two_outputs_are_returned_in_their_order(tmp_path: Path) -> None:
    class Two(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x.mean(dim=(2, 3)), x.sum(dim=(2, 3))

    save_exported(tmp_path / "a.pt2", Two())
    read, images = read_file(tmp_path / "a.pt2"), random_images(3, SHAPE)
    assert read.n_classes is None
    means, sums = read.module(images)
    assert torch.equal(means, images.mean(dim=(2, 3)))
    assert torch.equal(sums, images.sum(dim=(2, 3)))


def test_an_output_that_is_no_result_of_the_model_is_refused() -> None:
    several: list[list[dict[str, Any]]] = [[], [{"user_output": {}}, {"buffer_mutation": {}}]]
    for specs in several:
        with pytest.raises(ModelError, match="eval mode that returns scores"):
            _outputs(specs)


def test_a_graph_of_bytes_says_so_and_runs(tmp_path: Path) -> None:
    class Bytes(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.float().mean(dim=(2, 3)) / 255.0

    any_batch = ({0: torch.export.Dim("batch")},)
    images = torch.randint(0, 256, (3, *SHAPE), dtype=torch.uint8)
    torch.export.save(torch.export.export(Bytes(), (images,), dynamic_shapes=any_batch), tmp_path / "a.pt2")
    read = read_file(tmp_path / "a.pt2")
    assert (read.takes_bytes, read.n_classes) == (True, 3)
    assert torch.equal(read.module(images), Bytes()(images))
