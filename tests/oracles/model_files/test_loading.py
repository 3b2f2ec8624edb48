from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.testing import assert_close

from oracles.errors import ModelError
from oracles.model_files import Description, load_model
from oracles.torch_model import TorchOracle
from tests.oracles.fakes import random_images
from tests.oracles.model_files.files import ARCHITECTURES, METADATA, SHAPE, TOLD, Canary, refusal, victim

pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning"),
]


def test_safetensors_says_all_by_itself(tmp_path: Path) -> None:
    path, model, images = tmp_path / "seven.safetensors", victim(), random_images(3, SHAPE)
    save_file(model.state_dict(), path, METADATA)
    loaded = load_model(path, ARCHITECTURES)
    assert_close(loaded.module(images), model(images))
    assert (loaded.architecture, loaded.image_shape, loaded.n_classes, loaded.output) == ("flat", SHAPE, 4, "logits")
    assert loaded.name == "seven"
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert not loaded.module.training


def test_safetensors_without_metadata_needs_to_be_told(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file(victim().state_dict(), path)
    assert "timm:NAME) and image_shape, n_classes, or save" in refusal(path, Description())
    assert load_model(path, ARCHITECTURES, TOLD).n_classes == 4


def test_the_file_and_the_caller_must_agree(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file(victim().state_dict(), path, METADATA)
    assert load_model(path, ARCHITECTURES, TOLD).n_classes == 4
    assert "says n_classes is 4, but it was given as 5" in refusal(path, Description(n_classes=5))


@pytest.mark.parametrize(
    ("name", "value"),
    [("n_classes", "ten"), ("n_classes", "1"), ("n_classes", "4.0"), ("image_shape", "[3, 8]"), ("output", "scores")],
)
def test_wrong_metadata(tmp_path: Path, name: str, value: str) -> None:
    path = tmp_path / "a.safetensors"
    save_file(victim().state_dict(), path, {**METADATA, name: value})
    assert "metadata" in refusal(path, Description())


@pytest.mark.parametrize(
    "wrap", [lambda s: s, lambda s: {"epoch": 3, "state_dict": s}, lambda s: {"model_state_dict": s}]
)
@pytest.mark.parametrize("zipped", [True, False])
def test_a_state_dict_or_a_checkpoint_around_one(tmp_path: Path, wrap: Any, zipped: bool) -> None:
    path, model, images = tmp_path / "a.pt", victim(), random_images(3, SHAPE)
    torch.save(wrap(model.state_dict()), path, _use_new_zipfile_serialization=zipped)
    loaded = load_model(path, ARCHITECTURES, TOLD)
    assert_close(loaded.module(images), model(images))
    assert loaded.output is None


def test_the_prefix_of_data_parallel_is_dropped(tmp_path: Path) -> None:
    path, model = tmp_path / "a.pth", victim()
    torch.save(nn.DataParallel(model).state_dict(), path)
    assert_close(load_model(path, ARCHITECTURES, TOLD).module.state_dict(), model.state_dict())


def test_a_state_dict_needs_to_be_told(tmp_path: Path) -> None:
    torch.save(victim().state_dict(), tmp_path / "a.pt")
    assert "give image_shape, n_classes with it" in refusal(tmp_path / "a.pt", Description("flat"))
    alone = refusal(tmp_path / "a.pt", Description(None, SHAPE, 4))
    assert "give --architecture NAME (flat, torchvision:NAME, timm:NAME), or save a network of your own" in alone
    assert "'deep'; known: flat" in refusal(tmp_path / "a.pt", Description("deep", SHAPE, 4))


def test_torchscript_needs_nothing(tmp_path: Path) -> None:
    path, model, images = tmp_path / "a.pt", victim(), random_images(3, SHAPE)
    torch.jit.save(torch.jit.script(model), path)
    loaded = load_model(path, {})
    assert_close(loaded.module(images), model(images))
    assert (loaded.architecture, loaded.image_shape, loaded.n_classes) == (None, None, None)
    assert TorchOracle(loaded.module, SHAPE).n_classes == 4


def test_weights_of_another_model_are_listed_and_shortened(tmp_path: Path) -> None:
    weights = {"1.weight": torch.zeros(4, 7), **{f"extra.{i}": torch.zeros(1) for i in range(5)}}
    save_file(weights, tmp_path / "a.safetensors", METADATA)
    message = refusal(tmp_path / "a.safetensors")
    assert "missing: 1.bias;" in message
    assert "extra.2 and 2 more" in message
    assert "1.weight (4, 7) instead of (4, 192)" in message


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", ["int8", "complex64", "bool", "sparse", "quantized", "meta"])
def test_weights_that_are_no_plain_floats_are_refused(tmp_path: Path, kind: str) -> None:
    weight = torch.ones(4, 192)
    odd = {
        "int8": weight.to(torch.int8),
        "complex64": weight.to(torch.complex64),
        "bool": weight.bool(),
        "sparse": weight.to_sparse(),
        "quantized": torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8),
        "meta": weight.to("meta"),
    }
    torch.save({"1.weight": odd[kind], "1.bias": torch.zeros(4)}, tmp_path / "a.pt")
    assert "do not fit flat: not plain floats: 1.weight (" in refusal(tmp_path / "a.pt")


@pytest.mark.parametrize("kept", [torch.float16, torch.bfloat16, torch.float64])
def test_floats_of_another_width_are_taken(tmp_path: Path, kept: torch.dtype) -> None:
    weights = {name: weight.to(kept) for name, weight in victim().state_dict().items()}
    torch.save(weights, tmp_path / "a.pt")
    loaded = load_model(tmp_path / "a.pt", ARCHITECTURES, TOLD).module.state_dict()
    assert {weight.dtype for weight in loaded.values()} == {torch.float32}
    assert_close(loaded, {name: weight.float() for name, weight in weights.items()})


def test_a_module_that_takes_no_weights_is_one_line(tmp_path: Path) -> None:
    class Stubborn(nn.Linear):
        def load_state_dict(self, *_: Any, **__: Any) -> Any:
            raise KeyError("not\ntoday")

    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "a.pt")
    with pytest.raises(ModelError, match="into a flat: KeyError") as caught:
        load_model(tmp_path / "a.pt", {"flat": lambda shape, n_classes: Stubborn(2, 2)}, TOLD)
    assert "\n" not in str(caught.value)


def test_an_architecture_that_cannot_be_made(tmp_path: Path) -> None:
    torch.save(victim().state_dict(), tmp_path / "a.pt")
    with pytest.raises(ModelError, match="cannot make a flat"):
        load_model(tmp_path / "a.pt", {"flat": lambda shape, n_classes: nn.Linear(-1, -1)}, TOLD)


@pytest.mark.parametrize("how", ["archive", "legacy", "pickle", "inside"])
def test_code_in_a_file_never_runs(tmp_path: Path, how: str) -> None:
    ran, path = tmp_path / "ran", tmp_path / "a.pt"
    canary = Canary(ran)
    if how == "pickle":
        path.write_bytes(pickle.dumps({"weight": canary}))
    elif how == "inside":
        torch.save({"state_dict": victim().state_dict(), "optimizer": canary}, path)
    else:
        torch.save({"weight": canary}, path, _use_new_zipfile_serialization=how == "archive")
    assert "save torch.save(model.state_dict(), path)" in refusal(path)
    assert not ran.exists()
    torch.load(path, weights_only=False) if how != "pickle" else pickle.loads(path.read_bytes())
    assert ran.exists(), "the canary must sing where code does run"


def test_a_whole_pickled_module_is_refused_with_what_to_save_instead(tmp_path: Path) -> None:
    torch.save(victim(), tmp_path / "a.pt")
    assert "save torch.save(model.state_dict(), path)" in refusal(tmp_path / "a.pt")


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("content", [b"", b"hello", b"hello\n" * 99, b"\xff" * 99, b"PK\x03\x04", b"\x80\x02."])
def test_what_is_no_model(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    assert str(path) in refusal(path)


@pytest.mark.parametrize("kind", ["safetensors", "state_dict", "legacy", "torchscript"])
@pytest.mark.parametrize("kept", [0.05, 0.5, 0.98])
def test_a_truncated_file(tmp_path: Path, kind: str, kept: float) -> None:
    path = tmp_path / ("a.safetensors" if kind == "safetensors" else "a.pt")
    if kind == "safetensors":
        save_file(victim().state_dict(), path, METADATA)
    elif kind == "torchscript":
        torch.jit.save(torch.jit.script(victim()), path)
    else:
        torch.save(victim().state_dict(), path, _use_new_zipfile_serialization=kind == "state_dict")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    assert str(path) in refusal(path)


@pytest.mark.parametrize("stored", [[1, 2], {}, {"a": 3}, torch.zeros(3)])
def test_tensors_that_are_no_state_dict(tmp_path: Path, stored: object) -> None:
    torch.save(stored, tmp_path / "a.pt")
    assert "not a state_dict" in refusal(tmp_path / "a.pt")


def test_missing_files_and_folders(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "gone.pt")
    assert "directory" in refusal(tmp_path).lower()
