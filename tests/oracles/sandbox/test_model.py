"""A model in a child answers as the same file does in this process, bit for bit, and fails as it does."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from oracles.errors import ModelError
from oracles.model_files import load_model
from oracles.oracle import Oracle
from oracles.sandbox import process
from oracles.sandbox.model import SandboxedModel
from oracles.torch_model import TorchOracle
from oracles.torch_options import Precision, TorchOptions
from studies.scan.models import module_sha256
from tests.contracts.oracle import OracleContract
from tests.oracles.fakes import random_images
from tests.oracles.model_files.files import ARCHITECTURES, KINDS, SHAPE, TOLD, save_exported
from tests.oracles.nets import seeded

PROGRAMS = ("torchscript", "exported", "onnx")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(32, 48, 3, stride=2, padding=1), nn.BatchNorm2d(48), nn.GELU())
        self.head = nn.Linear(48, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        rows: torch.Tensor = self.head(self.second(self.first(images)).mean(dim=(2, 3)))
        return rows


class Fails(nn.Module):
    """Of bright images only."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        bright = images.numel() > 0 and bool(images.mean() > 0.9)
        rows: torch.Tensor = images.reshape(-1, 7) if bright else self.net(images)
        return rows


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    try:
        yield request.param
    finally:
        torch.set_num_threads(before)


def saved(path: Path, model: nn.Module) -> Path:
    if path.suffix == ".pt2":
        save_exported(path, seeded(model))
        return path
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(seeded(model)), path)
    return path


def loaded(path: Path) -> tuple[nn.Module, nn.Module]:
    """The model of a file in a child, and in this process."""
    there, here = (load_model(path, ARCHITECTURES, TOLD, trusted=trusted) for trusted in (False, True))
    assert isinstance(there.module, SandboxedModel)
    assert there.notes == ""
    stated = [(m.image_shape, m.n_classes, m.batch, m.sha256, dict(m.libraries)) for m in (there, here)]
    assert stated[0] == stated[1]
    return there.module, here.module


def oracles(models: tuple[nn.Module, nn.Module], options: TorchOptions) -> tuple[TorchOracle, TorchOracle]:
    there, here = models
    return TorchOracle(there, SHAPE, options, 4), TorchOracle(here, SHAPE, options, 4)


def both(path: Path, options: TorchOptions) -> tuple[TorchOracle, TorchOracle]:
    """The oracle of a file in a child, and in this process."""
    return oracles(loaded(path), options)


@pytest.fixture(scope="module", params=[".pt", ".pt2"])
def models(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, nn.Module]:
    return loaded(saved(tmp_path_factory.mktemp("models") / f"model{request.param}", Net()))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_bit_is_the_same(models: tuple[nn.Module, nn.Module], precision: Precision, threads: int) -> None:
    there, here = oracles(models, TorchOptions(precision=precision, chunk=16))
    for count in (1, 2, 16, 75):
        images = random_images(count, SHAPE)
        assert (there.query(images).values == here.query(images).values).all()  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def onnx_models(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, nn.Module]:
    path = tmp_path_factory.mktemp("onnx") / "a.onnx"
    KINDS["onnx"][1](path)
    return loaded(path)


def test_an_onnx_file_answers_the_same(onnx_models: tuple[nn.Module, nn.Module], threads: int) -> None:
    there, here = oracles(onnx_models, TorchOptions(chunk=16))
    images = random_images(75, SHAPE)
    assert (there.query(images).values == here.query(images).values).all()  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def sandboxed(tmp_path_factory: pytest.TempPathFactory) -> nn.Module:
    return load_model(saved(tmp_path_factory.mktemp("sandbox") / "a.pt", Net()), ARCHITECTURES, TOLD).module


class TestSandboxContract(OracleContract):
    @pytest.fixture(autouse=True)
    def _model(self, sandboxed: nn.Module) -> None:
        self.model = sandboxed

    def make(self) -> Oracle:
        return TorchOracle(self.model, SHAPE, TorchOptions(chunk=3), 4)


@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_damaged_file_is_refused_as_in_this_process(kind: str, tmp_path: Path) -> None:
    suffix, save = KINDS[kind]
    save(tmp_path / f"a{suffix}")
    data = bytearray((tmp_path / f"a{suffix}").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 200] = bytes(200)
    (tmp_path / f"a{suffix}").write_bytes(data)
    refusals = []
    for trusted in (False, True):
        try:
            load_model(tmp_path / f"a{suffix}", ARCHITECTURES, TOLD, trusted=trusted)
        except ModelError as error:
            refusals.append(str(error))
    assert len(refusals) in (0, 2)
    assert len(set(refusals)) <= 1


def test_a_model_that_fails_says_the_same_and_goes_on(tmp_path: Path) -> None:
    there, here = both(saved(tmp_path / "a.pt", Fails()), TorchOptions(chunk=16))
    bright = torch.ones(16, *SHAPE)
    said = []
    for oracle in (there, here):
        with pytest.raises(ModelError, match="the model failed on images") as caught:
            oracle.query(bright)
        said.append(str(caught.value))
        assert len(oracle.query(random_images(3, SHAPE))) == 3
    assert "shape '[-1, 7]' is invalid" in said[0]
    assert "shape '[-1, 7]' is invalid" in said[1]


def test_a_device_that_the_child_cannot_open_is_an_error(sandboxed: nn.Module) -> None:
    with pytest.raises(ModelError, match=r"cannot open meta.*--trust-model"):
        TorchOracle(sandboxed, SHAPE, TorchOptions(device="meta"), 4)


def test_no_process_stays_when_the_model_is_dropped(tmp_path: Path) -> None:
    loaded = load_model(saved(tmp_path / "a.pt", Net()), ARCHITECTURES, TOLD)
    assert isinstance(loaded.module, SandboxedModel)
    child = loaded.module._child._process
    oracle = TorchOracle(loaded.module, SHAPE, TorchOptions(), 4)
    assert child.poll() is None
    del loaded
    assert len(oracle.query(random_images(3, SHAPE))) == 3
    del oracle
    assert child.poll() is not None


def test_a_child_that_cannot_start_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "CODE", "raise SystemExit(3)")
    with pytest.raises(ModelError, match=r"ended its process \(exit code 3\)"):
        load_model(saved(tmp_path / "a.pt", Net()), ARCHITECTURES, TOLD)


@pytest.mark.parametrize(
    "answer",
    [
        'os.write(fd, b"x" * 100)',
        'os.write(fd, struct.pack("<IQ", 2, 2**60) + b"{}")',
        'send(fd, {"missing": 3})',
        'send(fd, {"error": "OSError", "message": "x\\x1b[31mred", "ours": 7})',
        'os.write(fd, struct.pack("<IQ", 200000, 0) + b"[" * 200000)',
        "send(fd, {})",
    ],
)
def test_a_child_that_breaks_the_format_is_one_line(
    answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = "import json, os, struct, sys, time; paths, args = json.loads(sys.argv[1]); sys.path[:] = paths; "
    start += f"from oracles.sandbox.wire import send; fd = args[0][0]; {answer}; {answer}; time.sleep(60)"
    monkeypatch.setattr(process, "CODE", start)
    monkeypatch.setattr(process, "_SECONDS_TO_END", 0.2)  # it sleeps
    with pytest.raises((ModelError, RuntimeError)) as caught:
        load_model(saved(tmp_path / "a.pt", Net()), ARCHITECTURES, TOLD)
    assert str(caught.value).isprintable()


def test_models_of_different_files_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    first, same = saved(tmp_path / "a.pt", Net()), tmp_path / "b" / "a.pt"
    same.write_bytes(first.read_bytes())
    other = saved(tmp_path / "c.pt", Fails())
    keys = [module_sha256(load_model(path, ARCHITECTURES, TOLD).module) for path in (first, same, other)]
    assert keys[0] == keys[1] != keys[2]


def test_a_machine_that_starts_no_process_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "a.pt", Net())
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(ModelError, match="no process can be started to run the model in: FileNotFoundError"):
        load_model(path, ARCHITECTURES, TOLD)


class Several(nn.Module):
    """Takes bytes (N, H, W, C), and answers the class beside the scores."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net()

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rows = self.net(images.float().div(255.0).permute(0, 3, 1, 2))
        return rows.argmax(1), rows


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = Net()

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        rows = self.net(images)
        return {"label": rows.argmax(1), "scores": rows}


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, nn.Module]:
    return loaded(saved(tmp_path_factory.mktemp("several") / "model.pt", Several()))


def test_another_input_and_output_are_the_same_in_both(several: tuple[nn.Module, nn.Module], threads: int) -> None:
    there, here = oracles(several, TorchOptions(input_layout="nhwc", input_dtype="uint8", output_item="1", chunk=16))
    images = random_images(75, SHAPE)
    assert (there.query(images).values == here.query(images).values).all()  # type: ignore[union-attr]


def test_names_of_outputs_are_kept(tmp_path: Path) -> None:
    models = loaded(saved(tmp_path / "model.pt", Named()))
    there, here = oracles(models, TorchOptions(output_item="scores"))
    images = random_images(9, SHAPE)
    assert (there.query(images).values == here.query(images).values).all()  # type: ignore[union-attr]
    with pytest.raises(ModelError, match=r"2 tensors: label \(N\), scores \(N, 4\)"):
        oracles(models, TorchOptions())
